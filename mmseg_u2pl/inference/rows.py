"""Logits from the network's input to the size of the image, a few rows at a time if it is large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..functional.maps import enlarge, upcast

LARGEST = 2**26
"""Logits that are held at image size at a time: 256 MiB in float32."""


def without_padding(logits: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """Logits (C, h, w) of a padded, perhaps mirrored input as those of the image, as mmseg does it."""
    left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
    height, width = logits.shape[1:]
    logits = logits[:, top : height - bottom, left : width - right]
    if meta.get('flip'):
        logits = logits.flip(2 if meta['flip_direction'] == 'horizontal' else 1)
    return logits


def by_rows(
    logits: Tensor, size: tuple[int, int], align_corners: bool
) -> Iterator[tuple[slice, Tensor]]:
    """Bilinear interpolation to (H, W), as slices of rows and their logits (C, rows, W).

    Args:
        logits: (C, h, w).
        size: H and W.
        align_corners: As in ``F.interpolate``.
    """
    height, width = size
    step = max(1, LARGEST // (len(logits) * width))
    if step >= height:
        yield slice(0, height), enlarge(logits[None], size, align_corners)[0]
        return
    logits = upcast(logits)
    last = logits.shape[1] - 1
    for start in range(0, height, step):
        rows = torch.arange(start, min(height, start + step), device=logits.device)
        if align_corners:
            place = rows * (last / max(1, height - 1))
        else:
            place = ((rows + 0.5) * ((last + 1) / height) - 0.5).clamp(0)
        above = place.long().clamp(max=last)
        below = (above + 1).clamp(max=last)
        part = torch.lerp(logits[:, above], logits[:, below], (place - above)[:, None])
        whole = F.interpolate(
            part[None], (len(rows), width), mode='bilinear', align_corners=align_corners
        )
        yield slice(start, start + len(rows)), whole[0]
