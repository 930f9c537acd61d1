"""Regions judged as a whole: votes, shares, losses (RRN, arXiv 2304.11539), and CutMix of pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .mixing import box_masks
from .precision import upcast


def region_vote(scores: Tensor, size: Sequence[int], threshold: float | Tensor) -> Tensor:
    """Which pixels lie in a region that is accepted.

    Args:
        scores: What a discriminator says of each region (B, 1, R, R), in [0, 1].
        size: Height H and width W of the image, pixels.
        threshold: γ, a number or a scalar tensor; a region is accepted if its score is greater.

    Returns:
        Float (B, H, W) without a gradient: 1 where accepted, else 0. Each pixel gets the vote of
        the region it lies in (nearest upsampling).

    Raises:
        ValueError: ``scores`` that are not one map an image.
    """
    if scores.dim() != 4 or scores.shape[1] != 1:
        raise ValueError(f'scores must be (B, 1, R, R), got {tuple(scores.shape)}')
    accepted = (upcast(scores.detach()) > threshold).float()
    return F.interpolate(accepted, tuple(size), mode='nearest')[:, 0]


def masked_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor, ignore_index: int = 255
) -> Tensor:
    """Σ w·CE / Σ w over the valid pixels.

    Args:
        logits: (B, C, H, W); half precision is computed in float32.
        target: (B, H, W), long; ``ignore_index`` where no label is.
        weight: w (B, H, W), not negative, floating or boolean; or several (N, B, H, W), which
            share one CE.
        ignore_index: The label that is left out.

    Returns:
        Scalar, or (N,); exactly 0, with a graph, where Σ w = 0. No host synchronization, and the
        inputs are not modified.
    """
    logits = upcast(logits)
    weight = weight.to(logits.dtype).masked_fill(target == ignore_index, 0)
    loss = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction='none')
    total = weight.sum((-3, -2, -1))
    return (weight * loss).sum((-3, -2, -1)) / total.masked_fill(total == 0, 1)


def region_share(hit: Tensor, valid: Tensor, grid: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The share of each region's valid pixels that are hit.

    Args:
        hit: Boolean (B, H, W), such as where a prediction is right.
        valid: Boolean (B, H, W); other pixels count nowhere.
        grid: Regions in height and width. Pixels belong to them as in :func:`region_vote`.

    Returns:
        Float shares (B, 1, R, R), 0 in a region without valid pixels, and the numbers of valid
        pixels, float (B, 1, R, R).
    """
    rows, columns = (
        _membership(length, regions, hit.device)
        for length, regions in zip(hit.shape[1:], grid, strict=True)
    )

    def count(pixels: Tensor) -> Tensor:
        return (rows @ pixels.float() @ columns.T).unsqueeze(1)

    counts = count(valid)
    return count(hit & valid) / counts.clamp(min=1), counts


def _membership(length: int, regions: int, device: torch.device) -> Tensor:
    """Float (regions, length): 1 where a pixel lies in a region, by nearest upsampling."""
    index = torch.arange(regions, device=device, dtype=torch.float32)
    of_pixel = F.interpolate(index[None, None], length, mode='nearest')[0, 0]
    return (index[:, None] == of_pixel).float()


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """L_fm = mean |mean_batch φ(real) − mean_batch φ(fake)| of features (B, D), a scalar.

    ``real`` gets no gradient; the batches may differ in size.
    """
    return (upcast(real.detach()).mean(0) - upcast(fake).mean(0)).abs().mean()


def cutmix_pair_masks(
    num: int,
    height: int,
    width: int,
    boxes: int = 3,
    share: tuple[float, float] = (0.25, 0.5),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Where a mixed image shows the second image of its pair: a few boxes (French et al. 2020).

    Each box has its own s, uniform in ``share``, and the area s·H·W / ``boxes``, so that without
    overlap all boxes together cover such a share. Heights are log-uniform between s and 1 times
    the largest possible, widths follow from the area, positions are uniform inside the image.

    Args:
        num: Number of masks B.
        height: Image height H, pixels.
        width: Image width W, pixels.
        boxes: Boxes a mask.
        share: Bounds of s, in (0, 1].
        generator: Source of randomness on the CPU; None means torch's global one.

    Returns:
        Boolean (B, H, W) on the CPU, True inside the boxes.

    Raises:
        ValueError: No box, or a share outside (0, 1] or in the wrong order.

    Source: French et al., *Semi-supervised semantic segmentation needs strong, varied
    perturbations*, arXiv 1906.01916.
    """
    if boxes < 1:
        raise ValueError(f'boxes must be at least 1, got {boxes}')
    if not 0 < share[0] <= share[1] <= 1:
        raise ValueError(f'share must be two rising numbers in (0, 1], got {share}')

    def uniform() -> Tensor:
        return torch.rand((num * boxes,), generator=generator)

    area = share[0] + (share[1] - share[0]) * uniform()
    relative = area ** uniform()
    limits = torch.tensor([height, width])
    sizes = torch.stack((relative, area / relative), dim=1) / boxes**0.5 * limits
    sizes = sizes.round().long().clamp(min=1)  # (B · boxes, 2)
    starts = torch.stack((uniform(), uniform()), dim=1) * (limits - sizes + 1)
    starts = starts.long().minimum(limits - sizes)  # rounding up to 1 would leave the image
    masks = box_masks(torch.cat((starts, starts + sizes), dim=1), height, width)
    return masks.view(num, boxes, height, width).any(1)


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
    shape = (len(masks),) + (1,) * (maps.dim() - 3) + tuple(masks.shape[1:])
    return torch.where(masks.view(shape), second, first)
