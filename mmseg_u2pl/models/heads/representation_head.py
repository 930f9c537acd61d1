"""The representation branch g for any mmseg decode head."""

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class RepresentationHead(BaseModule):
    """Branch g of U²PL: 3×3 → 3×3 → 1×1, BN, ReLU and dropout after each 3×3.

    Every mmseg decode head ends in a 1×1 classifier ``conv_seg``; what goes into it, a feature
    ``channels`` wide, is what this head reads. So any head gains a representation, at the
    resolution at which it classifies.

    Args:
        in_channels: ``channels`` of the decode head.
        channels: Width of the branch.
        out_channels: D of the representation, which is not normalized (the loss is a cosine).
        dropout_ratio: Channel dropout after each 3×3.
        norm_cfg: As in mmcv; use the decode head's.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 256,
        out_channels: int = 256,
        dropout_ratio: float = 0.1,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')
        self.out_channels = out_channels
        self.layers = nn.Sequential(
            ConvModule(in_channels, channels, 3, padding=1, norm_cfg=norm_cfg),
            nn.Dropout2d(dropout_ratio),
            ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg),
            nn.Dropout2d(dropout_ratio),
            nn.Conv2d(channels, out_channels, 1),
        )

    def forward(self, feature: Tensor) -> Tensor:
        """(B, in_channels, h, w) → (B, out_channels, h, w)."""
        return self.layers(feature)
