"""Maps of scores and labels: their precision, their size, and large ones a part at a time."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255
"""Label of pixels that are ignored: void, padding, unreliable pseudo-labels."""

Part: TypeAlias = tuple[Any, Callable[[Tensor], Tensor]]
"""An index of a tensor, and from what is there to a share of a sum, a scalar."""

ELEMENTS = {'cpu': 2**20, 'cuda': 2**25}
"""Of a part's largest map: a CPU's cache holds it, a GPU is busy with it for long enough."""


def upcast(tensor: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def widest(tensor: Tensor) -> torch.dtype:
    """float64, or float32 on Apple's GPUs, which have no other."""
    return torch.float32 if tensor.device.type == 'mps' else torch.float64


def nearest(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest sampling of maps (B, H, W) of any dtype to ``size``, (B, h, w)."""
    height, width = maps.shape[1:]
    if (height, width) == tuple(size):
        return maps
    rows = torch.arange(size[0], device=maps.device) * height // size[0]
    columns = torch.arange(size[1], device=maps.device) * width // size[1]
    return maps[:, rows[:, None], columns]


def enlarge(maps: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Maps (B, C, h, w) at image size (B, C, H, W), bilinearly, in float32 or better."""
    maps = upcast(maps)
    if maps.shape[2:] == tuple(size):
        return maps
    with torch.autocast(maps.device.type, enabled=False):
        return F.interpolate(maps, tuple(size), mode='bilinear', align_corners=align_corners)


def by_images(
    function: Callable[[Tensor], Tensor], maps: Tensor, size: Sequence[int], align_corners: bool
) -> Tensor:
    """``function`` of maps at image size, an image at a time, without a gradient.

    Args:
        function: Of (1, C, H, W), to (1, H, W).
        maps: (B, C, h, w), floating.
        size: H and W.
        align_corners: As in ``F.interpolate``.

    Returns:
        (B, H, W).
    """
    with torch.no_grad():
        return torch.cat([function(enlarge(m, size, align_corners)) for m in maps.split(1)])


def hard_labels(logits: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """The most probable class of each pixel, without maps of all classes at image size.

    Args:
        logits: (B, C, h, w), floating.
        size: Height H and width W of the images, pixels.
        align_corners: As in ``F.interpolate``, which enlarges the logits bilinearly.

    Returns:
        Long (B, H, W); the first of equal classes.
    """
    # max is four times as fast as argmax on a CPU
    return by_images(lambda maps: maps.max(1).indices, logits, size, align_corners)


def slices(count: int, elements: int, device: torch.device) -> list[slice]:
    """``count`` items cut into parts, if one item needs a map of so many elements."""
    step = max(1, ELEMENTS.get(device.type, ELEMENTS['cuda']) // max(1, elements))
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def sum_of_parts(inputs: Tensor, parts: Sequence[Part]) -> Tensor:
    """Σ function(inputs[index]) over parts, without the graph of any.

    A part's backward follows its forward at once; what stays is one gradient of the size of
    ``inputs``.

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
            # autocast would compute this backward in half precision, and without a loss scale
            with torch.enable_grad(), torch.autocast(leaf.device.type, enabled=False):
                value = function(leaf)
                gradient[index] += torch.autograd.grad(value, leaf)[0]
            values.append(value.detach())
        ctx.save_for_backward(gradient)
        return torch.stack(values).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return ctx.saved_tensors[0] * grad, None
