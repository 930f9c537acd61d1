"""Perturbation of features: whole channels of an image are dropped (UniMatch, UniMatch V2)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def channel_dropout(features: Sequence[Any], prob: float, num_whole: int = 0) -> list[Any]:
    """Set channels of each image and level to 0 with probability p, the others grow by 1 / (1 − p).

    Args:
        features: Levels (B, C, h, w); a level may be a tuple of such maps and class tokens (B, C).
        prob: p, in [0, 1).
        num_whole: The first images of the batch, which stay as they are.

    Returns:
        Features of the same shapes; the inputs are not modified.

    Source: UniMatch (CVPR 2023), Sec. 3.3.
    """

    def draw(maps: Tensor) -> Tensor:
        mask = F.dropout(maps.new_ones(maps.shape[:2]), prob)
        mask[:num_whole] = 1
        return mask

    return _scale(features, draw)


def complementary_dropout(features: Sequence[Any], num: int) -> list[Any]:
    """Two views of a batch see complementary halves of the channels.

    The first view is multiplied by M, the second by 2 − M. M is 0 or 2 in each channel with
    equal probability; in a random half of the images, ⌊B/2⌋, it is 1. Levels with the same number
    of channels share M.

    Args:
        features: Levels (2·B, C, h, w), as in :func:`channel_dropout`; first those of view 1.
        num: B.

    Returns:
        Features of the same shapes; the inputs are not modified.

    Source: UniMatch V2 (TPAMI 2025), complementary channel-wise dropout.
    """
    whole = torch.randperm(num) < num // 2  # (B,)
    masks: dict[int, Tensor] = {}  # by the number of channels C, (2·B, C)

    def draw(maps: Tensor) -> Tensor:
        channels = maps.shape[1]
        if channels not in masks:
            first = F.dropout(maps.new_ones(num, channels), 0.5)
            undropped = whole.to(maps.device, non_blocking=True).unsqueeze(1)
            first = torch.where(undropped, 1, first)
            masks[channels] = torch.cat((first, 2 - first))
        return masks[channels]

    return _scale(features, draw)


def _scale(features: Sequence[Any], draw: Callable[[Tensor], Tensor]) -> list[Any]:
    """Every map and token times what is drawn for it (B, C)."""

    def scaled(level: Any) -> Any:
        if not isinstance(level, Tensor):
            return tuple(_scale(level, draw))
        return level * draw(level).to(level.dtype).view(*level.shape[:2], *[1] * (level.dim() - 2))

    return [scaled(level) for level in features]
