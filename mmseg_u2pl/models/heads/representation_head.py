"""The representation branch g for any mmseg decode head."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


class RepresentationBranch(BaseModule):
    """The paper's branch: 3×3 → 3×3 → 1×1, BN, ReLU and dropout after each 3×3.

    Args:
        in_channels: Channels of the input feature.
        channels: Channels of both 3×3 convolutions.
        out_channels: D of the representation, which is not normalized (the loss is a cosine).
        dropout_ratio: Channel dropout after each 3×3.
        norm_cfg: As in mmcv.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        dropout_ratio: float,
        norm_cfg: dict | None,
    ) -> None:
        super().__init__()
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


@MODELS.register_module()
class RepresentationHead(RepresentationBranch):
    """Representation of each pixel from the input of a decode head's classifier.

    Every mmseg decode head ends in a 1×1 classifier ``conv_seg``; what goes into it, a feature
    ``channels`` wide, is what this head reads. So any head gains a representation, at the
    resolution at which it classifies.

    Args:
        in_channels: ``channels`` of the decode head.
        channels: Width of the branch.
        out_channels: D of the representation.
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
        super().__init__(
            in_channels, channels, out_channels, dropout_ratio, norm_cfg or dict(type='BN')
        )
        self.out_channels = out_channels


def logits_and_feature(decode_head: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Run a decode head and catch what goes into its classifier.

    Args:
        decode_head: Any mmseg decode head.
        inputs: Multi-level features of the backbone or neck.

    Returns:
        Logits (B, C, h, w) and the input of ``conv_seg``, (B, channels, h, w).

    Raises:
        TypeError: The head has no ``conv_seg``, does not use it, or returns more than logits.
    """
    name = type(decode_head).__name__
    classifier = getattr(decode_head, 'conv_seg', None)
    if classifier is None:
        raise TypeError(f'{name} has no conv_seg: a semi-supervised method needs a head with one')
    caught: list[Tensor] = []
    handle = classifier.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    try:
        logits = decode_head(inputs)
    finally:
        handle.remove()
    if not caught or not isinstance(logits, Tensor):
        raise TypeError(f'{name} does not return the logits of conv_seg: choose another head')
    return logits, caught[-1]
