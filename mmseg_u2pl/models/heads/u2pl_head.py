"""The decoder of the U²PL paper: DeepLabv3+ with a classifier and a representation branch."""

from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import ASPPHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from .representation_head import RepresentationHead


@MODELS.register_module()
class U2PLHead(ASPPHead):
    """DeepLabv3+ with plain convolutions and two branches of the same shape (U²PL, Sec. 3.1).

    ASPP → 3×3, dropout → up to stride 4, joined with the low-level feature through a 1×1 →
    classifier f: 3×3, 3×3, 1×1 → C, and representation g: 3×3, 3×3, 1×1 → D. As a plain decode head
    (``forward``) it returns f's logits only.

    Args:
        low_level_channels: Channels of the low-level feature, the backbone's first output (stride 4).
        rep_channels: D.
        dilations: Of the ASPP; the paper's at output stride 8.
        channels: Width of the decoder.
        dropout_ratio: Channel dropout after the ASPP and in both branches.
        **kwargs: As in mmseg's ``BaseDecodeHead``.
    """

    def __init__(
        self,
        low_level_channels: int = 256,
        rep_channels: int = 256,
        dilations: tuple[int, ...] = (1, 12, 24, 36),
        channels: int = 256,
        dropout_ratio: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            dilations=dilations, channels=channels, dropout_ratio=dropout_ratio, **kwargs
        )
        self.rep_channels = rep_channels
        self.low_level = ConvModule(low_level_channels, channels, 1, norm_cfg=self.norm_cfg)
        self.aspp_dropout = nn.Dropout2d(dropout_ratio)
        self.classifier = nn.Sequential(  # cls_seg adds the last dropout and the 1×1
            ConvModule(2 * channels, channels, 3, padding=1, norm_cfg=self.norm_cfg),
            nn.Dropout2d(dropout_ratio),
            ConvModule(channels, channels, 3, padding=1, norm_cfg=self.norm_cfg),
        )
        self.representation = RepresentationHead(
            2 * channels, channels, rep_channels, dropout_ratio, self.norm_cfg
        )

    def _fuse(self, inputs: list[Tensor]) -> Tensor:
        """Multi-level features → (B, 2·channels, H/4, W/4)."""
        low = self.low_level(inputs[0])
        high = self.aspp_dropout(self._forward_feature(inputs))
        high = resize(high, low.shape[2:], mode='bilinear', align_corners=self.align_corners)
        return torch.cat((low, high), dim=1)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Multi-level features → logits (B, C, H/4, W/4)."""
        return self.cls_seg(self.classifier(self._fuse(inputs)))

    def forward_with_representation(self, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Multi-level features → logits (B, C, H/4, W/4), representation (B, D, H/4, W/4)."""
        fused = self._fuse(inputs)
        return self.cls_seg(self.classifier(fused)), self.representation(fused)
