"""Label maps: the ignored label, and maps at another size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .parts import by_images

IGNORE = 255
"""Label of pixels that are ignored: void, padding, unreliable pseudo-labels."""


def nearest(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest sampling of maps of any dtype.

    Args:
        maps: (B, H, W).
        size: h and w, pixels.

    Returns:
        (B, h, w).
    """
    height, width = maps.shape[1:]
    rows = torch.arange(size[0], device=maps.device) * height // size[0]
    columns = torch.arange(size[1], device=maps.device) * width // size[1]
    return maps[:, rows[:, None], columns]


def hard_labels(logits: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """The likeliest class of each pixel, without maps of all classes at image size.

    Args:
        logits: (B, C, h, w), floating.
        size: Height H and width W of the images, pixels.
        align_corners: As in ``F.interpolate``, which enlarges the logits bilinearly.

    Returns:
        Long (B, H, W); the first of equal classes.
    """
    # max is four times as fast as argmax on a CPU
    return by_images(lambda maps: maps.max(1).indices, logits, size, align_corners)
