"""Large intermediate maps a part at a time: memory and cache see one part, not all of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from .precision import upcast

Part: TypeAlias = tuple[Any, Callable[[Tensor], Tensor]]
"""An index of a tensor, and from what is there to a share of a sum, a scalar."""

ELEMENTS = {'cpu': 2**20, 'cuda': 2**25}
"""Of a part's largest map: a CPU's cache holds it, a GPU is busy with it for long enough."""


def part_size(elements: int, device: torch.device) -> int:
    """How many items make a part, if one needs a map of so many elements; at least one."""
    return max(1, ELEMENTS.get(device.type, ELEMENTS['cuda']) // max(1, elements))


def slices(count: int, elements: int, device: torch.device) -> list[slice]:
    """``count`` items cut into parts, see :func:`part_size`."""
    step = part_size(elements, device)
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def sum_of_parts(inputs: Tensor, parts: Sequence[Part]) -> Tensor:
    """Σ function(inputs[index]) over parts, without the graph of any.

    A part's backward follows its forward at once, while its maps are there; what stays is one
    gradient of the size of ``inputs``.

    Args:
        inputs: Floating, float32 or better. Nothing else that the functions use gets a gradient.
        parts: Indices are basic ones (slices) and may overlap.

    Returns:
        Scalar, differentiable once.
    """
    if torch.is_grad_enabled() and inputs.requires_grad:
        return _SumOfParts.apply(inputs, parts)
    return torch.stack([function(inputs[index]) for index, function in parts]).sum()


class _SumOfParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, parts):  # type: ignore[no-untyped-def]
        gradient, values = torch.zeros_like(inputs), []
        for index, function in parts:
            leaf = inputs.detach()[index].requires_grad_()
            with torch.enable_grad():
                value = function(leaf)
            gradient[index] += torch.autograd.grad(value, leaf)[0]
            values.append(value.detach())
        ctx.save_for_backward(gradient)
        return torch.stack(values).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return ctx.saved_tensors[0] * grad, None


class Band(NamedTuple):
    """Some rows of an enlarged map, and how they come from rows of the small one."""

    rows: slice  # of the H
    source: slice  # of the h
    down: Tensor  # (rows, source rows)
    across: Tensor  # (w, W)

    def enlarge(self, maps: Tensor) -> Tensor:
        """Source rows (B, C, source rows, w), float32 or better → (B, C, rows, W)."""
        with torch.autocast(maps.device.type, enabled=False):
            return torch.matmul(self.down, maps) @ self.across


def bands(maps: Tensor, size: Sequence[int], align_corners: bool) -> Iterator[Band]:
    """``F.interpolate(maps, size, mode='bilinear', align_corners=...)`` some rows at a time.

    As matrix products, whose backward takes a CPU half of the time of torch's.

    Args:
        maps: (B, C, h, w), floating.
        size: H and W.
        align_corners: As in torch.
    """
    height, width = maps.shape[2:]
    like = upcast(maps).dtype, maps.device
    down = interpolation(height, size[0], align_corners, *like)
    across = interpolation(width, size[1], align_corners, *like).T
    for rows in slices(size[0], maps[:, :, 0, 0].numel() * size[1], maps.device):
        # one row more on either side than a real number needs, whatever it is rounded to
        scale = height / size[0]
        source = slice(
            max(0, math.floor((rows.start - 1) * scale) - 1),
            min(height, math.ceil((rows.stop + 1) * scale) + 1),
        )
        yield Band(rows, source, down[rows, source], across)


@functools.lru_cache(maxsize=64)
def interpolation(
    length: int, new_length: int, align_corners: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Linear interpolation as a matrix (``new_length``, ``length``), on the device once and for all.

    Args:
        length: Of what is interpolated.
        new_length: Of the result.
        align_corners: As in ``F.interpolate``.
        dtype: Of the matrix.
        device: Of the matrix.
    """
    with torch.inference_mode(False):  # or training could not use what a test has made
        place = torch.arange(new_length, dtype=torch.float64)
        if align_corners:
            source = place * ((length - 1) / max(1, new_length - 1))
        else:
            source = ((place + 0.5) * (length / new_length) - 0.5).clamp(0, length - 1)
        distance = (source.unsqueeze(1) - torch.arange(length)).abs()
        return (1 - distance).clamp(min=0).to(device, dtype)


def by_bands(
    function: Callable[[Tensor], Tensor], maps: Tensor, size: Sequence[int], align_corners: bool
) -> Tensor:
    """``function`` of enlarged maps, without a gradient.

    Args:
        function: Of (B, C, rows, W), to (B, rows, W): what it says of a pixel depends on that
            pixel alone.
        maps: (B, C, h, w), floating.
        size: H and W.
        align_corners: As in torch.

    Returns:
        (B, H, W).
    """
    with torch.no_grad():
        maps = upcast(maps)
        return torch.cat(
            [
                function(band.enlarge(maps[:, :, band.source]))
                for band in bands(maps, size, align_corners)
            ],
            dim=1,
        )
