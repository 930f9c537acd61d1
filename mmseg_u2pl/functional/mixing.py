"""CutMix and ClassMix inside a batch, and CutMix of pairs."""

from collections.abc import Iterable

import torch
from torch import Tensor

PAIR_BOXES = 3
"""K, boxes of a mask of pairs."""


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
        generator: Of the CPU; None: torch's.

    Returns:
        Long (B, 4) on the CPU, each row (y1, x1, y2, x2), ends exclusive.

    Raises:
        ValueError: An image too small to hold a box of half its area.
    """
    if height < 2 or width < 2:
        raise ValueError(f'cutmix needs images of at least 2×2 pixels, got {height}×{width}')
    box_width = torch.randint((width + 1) // 2, width, (num,), generator=generator)
    sizes = torch.stack((height * width / 2 / box_width, box_width.float()), dim=1)
    offsets = torch.rand(2, num, dtype=torch.float64, generator=generator)
    return _place(sizes, height, width, offsets)


def random_boxes(
    num: int, height: int, width: int, area: tuple[float, float], aspect: tuple[float, float]
) -> Tensor:
    """Random boxes of varied area and shape (CutMix, as UniMatch uses it).

    Args:
        num: As in :func:`cutmix_boxes`, as are ``height``, ``width`` and the result.
        height: H.
        width: W.
        area: Bounds of the share of the image, uniform, in (0, 1].
        aspect: Bounds of height / width, uniform, above 0. A longer box is cut to the image.
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(num)

    pixels, shape = uniform(*area) * height * width, uniform(*aspect)
    sizes = torch.stack(((pixels * shape).sqrt(), (pixels / shape).sqrt()), dim=1)
    return _place(sizes, height, width, (uniform(0, 1), uniform(0, 1)))


def _place(sizes: Tensor, height: int, width: int, offsets: Iterable[Tensor]) -> Tensor:
    """Boxes (B, 4) of sizes (B, 2), rounded, at relative offsets y and x (B,) inside the image."""
    limits = torch.tensor([height, width])
    sizes = sizes.round().long().clamp(min=1).minimum(limits)
    starts = torch.stack(tuple(offsets), dim=1) * (limits - sizes + 1)
    starts = starts.long().minimum(limits - sizes)  # rounding up could leave the image
    return torch.cat((starts, starts + sizes), dim=1)


def box_masks(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes (B, 4), rows (y1, x1, y2, x2), as boolean masks (B, H, W) on the same device."""
    y1, x1, y2, x2 = boxes[:, :, None].unbind(1)  # (B, 1) each
    y = torch.arange(height, device=boxes.device)
    x = torch.arange(width, device=boxes.device)
    rows, columns = (y >= y1) & (y < y2), (x >= x1) & (x < x2)
    return rows[:, :, None] & columns[:, None, :]


def class_mix_masks(labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Where image i shows half of the classes of image (i + 1) mod B (ClassMix).

    Args:
        labels: Pseudo-labels (B, H, W), long.
        num_classes: C.
        ignore_index: Never pasted.

    Returns:
        Boolean (B, H, W), for :func:`apply_mix`. Of k classes present, ⌈k/2⌉ are pasted.
    """
    batch = labels.shape[0]
    classes = labels.masked_fill(labels == ignore_index, num_classes).flatten(1)  # (B, H·W)
    present = labels.new_zeros((batch, num_classes + 1)).scatter_(1, classes, 1).bool()
    present[:, num_classes] = False
    order = torch.rand((batch, num_classes + 1)).to(labels.device, non_blocking=True)
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
    masks = boxes_or_masks.to(tensors[0].device, non_blocking=True)
    if masks.dim() == 2:
        masks = box_masks(masks, *tensors[0].shape[-2:])
    return tuple(_where(masks, tensor.roll(-1, 0), tensor) for tensor in tensors)


def _where(masks: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """``torch.where`` of masks (B, H, W) and tensors (B, ..., H, W)."""
    shape = (len(masks),) + (1,) * (inside.dim() - 3) + tuple(masks.shape[1:])
    return torch.where(masks.view(shape), inside, outside)


def cutmix_pair_masks(num: int, height: int, width: int) -> Tensor:
    """Where a mixed image shows the second image of its pair: K = 3 boxes (arXiv 1906.01916).

    Each box has the area s·H·W / K, s uniform in [1/4, 1/2]. Heights are log-uniform between s and
    1 times the largest possible, widths follow from the area, positions are uniform.

    Args:
        num: Number of masks B.
        height: Image height H, pixels.
        width: Image width W, pixels.

    Returns:
        Boolean (B, H, W) on the CPU, True inside the boxes.
    """

    def uniform() -> Tensor:
        return torch.rand(num * PAIR_BOXES)

    area = 0.25 + 0.25 * uniform()
    relative = area ** uniform()
    limits = torch.tensor([height, width])
    sizes = torch.stack((relative, area / relative), dim=1) / PAIR_BOXES**0.5 * limits
    placed = _place(sizes, height, width, (uniform(), uniform()))  # (B · K, 4)
    return box_masks(placed, height, width).view(num, PAIR_BOXES, height, width).any(1)


def mix_pairs(masks: Tensor, maps: Tensor) -> Tensor:
    """M⊙u_1 + (1 − M)⊙u_0 of each pair.

    Args:
        masks: M, boolean (B, H, W).
        maps: Images, labels or anything else (2·B, ..., H, W): first the u_0, then the u_1.

    Returns:
        (B, ..., H, W); the inputs are not modified.

    Raises:
        ValueError: Not two maps a mask.
    """
    if len(maps) != 2 * len(masks):
        raise ValueError(f'{len(masks)} masks mix {2 * len(masks)} maps, got {len(maps)}')
    first, second = maps.chunk(2)
    return _where(masks, second, first)
