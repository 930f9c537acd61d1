"""Regions scored as a whole: acceptance, shares, losses (RRN, arXiv 2304.11539)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .maps import upcast


def region_vote(scores: Tensor, size: Sequence[int], threshold: float | Tensor) -> Tensor:
    """Which pixels lie in a region that is accepted.

    Args:
        scores: What a discriminator says of each region (B, 1, R, R), in [0, 1].
        size: Height H and width W of the image, pixels.
        threshold: γ, a number or a scalar tensor; a region is accepted if its score is greater.

    Returns:
        Float (B, H, W) without a gradient: 1 where accepted, else 0, by nearest upsampling.

    Raises:
        ValueError: ``scores`` of another shape.
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
        Scalar, or (N,); exactly 0, with a graph, where Σ w = 0. Inputs are not modified.
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

    def members(length: int, regions: int) -> Tensor:  # (regions, length), 1 inside a region
        index = torch.arange(regions, device=hit.device, dtype=torch.float32)
        of_pixel = F.interpolate(index[None, None], length, mode='nearest')[0, 0]
        return (index[:, None] == of_pixel).float()

    rows, columns = map(members, hit.shape[1:], grid)
    with torch.autocast(hit.device.type, enabled=False):  # float16 counts to 65504
        hits, counts = (
            (rows @ pixels.float() @ columns.T).unsqueeze(1) for pixels in (hit & valid, valid)
        )
    return hits / counts.clamp(min=1), counts


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """L_fm = mean |mean_batch φ(real) − mean_batch φ(fake)| of features (B, D), a scalar.

    ``real`` gets no gradient; the batches may differ in size.
    """
    return (upcast(real.detach()).mean(0) - upcast(fake).mean(0)).abs().mean()
