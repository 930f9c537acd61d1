"""Logits of an image, some rows at a time, so that those of a large one are never held as a whole."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..functional.maps import enlarge, upcast

LARGEST = 2**26
"""Logits that are held at image size at a time: 256 MiB in float32."""


class Logits(NamedTuple):
    """Logits of an image, of which some rows are asked for at a time, in order."""

    shape: tuple[int, int, int]  # C, h and w
    rows: Callable[[int, int], Tensor]  # the first row and that after the last → (C, rows, w)


def whole(logits: Tensor) -> Logits:
    """Logits (C, h, w) of one forward pass."""
    channels, height, width = logits.shape
    return Logits((channels, height, width), lambda first, last: logits[:, first:last])


class Windows:
    """Logits of overlapping windows, averaged where they overlap, as mmseg's ``slide_inference``.

    A row of windows is predicted when one of its rows is asked for, and held until the next ones are.

    Args:
        model: A segmentor with ``crop_size`` and ``stride`` of the windows in its ``test_cfg``.
        inputs: (1, 3, H, W).
        meta: Of the image.
        batch_size: Windows that go through the network together.
    """

    def __init__(self, model: Any, inputs: Tensor, meta: dict[str, Any], batch_size: int) -> None:
        self.model, self.inputs, self.meta, self.batch_size = model, inputs, meta, batch_size
        size = inputs.shape[2:]
        self.crop = [min(pair) for pair in zip(model.test_cfg.crop_size, size, strict=True)]
        self.tops, self.lefts = (
            [min(start, length - crop) for start in range(0, length - crop + stride, stride)]
            for length, crop, stride in zip(size, self.crop, model.test_cfg.stride, strict=True)
        )
        self.held: dict[int, Tensor] = {}

    @property
    def logits(self) -> Logits:
        """Those of the image."""
        height, width = self.inputs.shape[2:]
        return Logits((self.model.out_channels, height, width), self._rows)

    def _rows(self, first: int, last: int) -> Tensor:
        total = self.inputs.new_zeros(self.model.out_channels, last - first, self.inputs.shape[3])
        count = self.inputs.new_zeros(last - first, 1)
        tops = [top for top in self.tops if top < last and top + self.crop[0] > first]
        self.held = {top: self.held[top] for top in tops if top in self.held}
        for top in tops:
            if top not in self.held:
                self.held[top] = self._row_of_windows(top)
            start, end = max(first, top), min(last, top + self.crop[0])
            total[:, start - first : end - first] += self.held[top][:, start - top : end - top]
            count[start - first : end - first] += 1
        return total.div_(count)

    def _row_of_windows(self, top: int) -> Tensor:
        """(C, height of a window, W)."""
        height, width = self.crop
        total = self.inputs.new_zeros(self.model.out_channels, height, self.inputs.shape[3])
        count = self.inputs.new_zeros(self.inputs.shape[3])
        band = self.inputs[:, :, top : top + height]
        for start in range(0, len(self.lefts), self.batch_size):
            lefts = self.lefts[start : start + self.batch_size]
            windows = torch.cat([band[..., left : left + width] for left in lefts])
            meta = {**self.meta, 'img_shape': windows.shape[2:]}
            logits = self.model.encode_decode(windows, [meta] * len(lefts))
            for left, part in zip(lefts, logits, strict=True):
                total[..., left : left + width] += part
                count[left : left + width] += 1
        return total.div_(count)


def without_padding(logits: Logits, meta: Mapping[str, Any]) -> Logits:
    """Logits of a padded, perhaps mirrored input as those of the image, as mmseg does it."""
    left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
    channels, height, width = logits.shape
    height, width = height - top - bottom, width - left - right
    mirrored = meta['flip_direction'] if meta.get('flip') else ''

    def rows(first: int, last: int) -> Tensor:
        if mirrored == 'vertical':
            first, last = height - last, height - first
        part = logits.rows(first + top, last + top)[..., left : left + width]
        return part.flip(2 if mirrored == 'horizontal' else 1) if mirrored else part

    return Logits((channels, height, width), rows)


def by_rows(
    logits: Logits, size: tuple[int, int], align_corners: bool
) -> Iterator[tuple[slice, Tensor]]:
    """Bilinear interpolation to (H, W), as slices of rows and their logits (C, rows, W).

    Args:
        logits: (C, h, w).
        size: H and W.
        align_corners: As in ``F.interpolate``.
    """
    height, width = size
    channels, from_height, from_width = logits.shape
    step = max(1, LARGEST // (channels * max(width, from_width * from_height // height)))
    if step >= height:
        yield slice(0, height), enlarge(logits.rows(0, from_height)[None], size, align_corners)[0]
        return
    last = from_height - 1
    for start in range(0, height, step):
        rows = torch.arange(start, min(height, start + step))
        if align_corners:
            place = rows * (last / max(1, height - 1))
        else:
            place = ((rows + 0.5) * ((last + 1) / height) - 0.5).clamp(0)
        above = place.long().clamp(max=last)
        below = (above + 1).clamp(max=last)
        first = int(above[0])
        part = upcast(logits.rows(first, int(below[-1]) + 1))
        upper, lower = part[:, above - first], part[:, below - first]
        part = torch.lerp(upper, lower, (place - above)[:, None].to(part))
        resized = F.interpolate(
            part[None], (len(rows), width), mode='bilinear', align_corners=align_corners
        )
        yield slice(start, start + len(rows)), resized[0]
