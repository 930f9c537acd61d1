"""CutMix and ClassMix inside a batch: image i takes pixels of image (i + 1) mod B."""

from __future__ import annotations

import torch
from torch import Tensor


def cutmix_boxes(
    num: int, height: int, width: int, generator: torch.Generator | None = None
) -> Tensor:
    """Random boxes of half the image's area (CutMix, as U²PL uses it).

    The width is uniform over the integers of [W/2, W), the height follows from the area H·W/2,
    the position is uniform among those inside the image.

    Args:
        num: Number of boxes B.
        height: Image height H, pixels, at least 2.
        width: Image width W, pixels, at least 2.
        generator: Source of randomness on the CPU; None means torch's global one.

    Returns:
        Long (B, 4) on the CPU, each row (y1, x1, y2, x2), ends exclusive.

    Raises:
        ValueError: An image too small to hold a box of half its area.
    """
    if height < 2 or width < 2:
        raise ValueError(f'cutmix needs images of at least 2×2 pixels, got {height}×{width}')
    box_width = torch.randint((width + 1) // 2, width, (num,), generator=generator)
    box_height = (height * width / 2 / box_width).round().long().clamp(max=height)

    def start(length: Tensor, limit: int) -> Tensor:
        offset = torch.rand(num, generator=generator, dtype=torch.float64)
        return (offset * (limit - length + 1)).long()

    y1, x1 = start(box_height, height), start(box_width, width)
    return torch.stack((y1, x1, y1 + box_height, x1 + box_width), dim=1)


def box_masks(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes (B, 4), rows (y1, x1, y2, x2), as boolean masks (B, H, W) on the same device."""
    y1, x1, y2, x2 = boxes[:, :, None].unbind(1)  # (B, 1) each
    y = torch.arange(height, device=boxes.device)
    x = torch.arange(width, device=boxes.device)
    rows, columns = (y >= y1) & (y < y2), (x >= x1) & (x < x2)
    return rows[:, :, None] & columns[:, None, :]


def class_mix_masks(
    labels: Tensor,
    num_classes: int,
    ignore_index: int = 255,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Where image i shows half of the classes of image (i + 1) mod B (ClassMix).

    Args:
        labels: Pseudo-labels (B, H, W), long.
        num_classes: C.
        ignore_index: Never pasted.
        generator: Source of randomness on the CPU; None means torch's global one.

    Returns:
        Boolean (B, H, W), for :func:`apply_mix`. Of k classes present, ⌈k/2⌉ are pasted.
    """
    batch = labels.shape[0]
    classes = labels.masked_fill(labels == ignore_index, num_classes).flatten(1)  # (B, H·W)
    present = labels.new_zeros((batch, num_classes + 1)).scatter_(1, classes, 1).bool()
    present[:, num_classes] = False
    order = torch.rand((batch, num_classes + 1), generator=generator).to(labels.device)
    # rank of each class among those present, in random order
    rank = order.masked_fill(~present, 2.0).argsort(1).argsort(1)
    chosen = present & (rank < (present.sum(1, keepdim=True) + 1) // 2)
    return chosen.gather(1, classes).view_as(labels).roll(-1, 0)


def apply_mix(boxes_or_masks: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Image i takes the marked pixels from image (i + 1) mod B.

    Args:
        boxes_or_masks: Boxes (B, 4), rows (y1, x1, y2, x2), or boolean masks (B, H, W).
        *tensors: Each (B, ..., H, W): images, labels, confidences.

    Returns:
        The mixed tensors, in order, always as a tuple; the inputs are not modified.
    """
    height, width = tensors[0].shape[-2:]
    masks = boxes_or_masks.to(tensors[0].device, non_blocking=True)
    if masks.dim() == 2:
        masks = box_masks(masks, height, width)

    def mix(tensor: Tensor) -> Tensor:
        shape = (masks.shape[0],) + (1,) * (tensor.dim() - 3) + (height, width)
        return torch.where(masks.view(shape), tensor.roll(-1, 0), tensor)

    return tuple(mix(tensor) for tensor in tensors)
