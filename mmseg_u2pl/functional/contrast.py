"""Anchors, positives, negatives and the InfoNCE loss over pixels (U²PL, Sec. 3.3, Eq. 5-11)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .maps import upcast, widest


def class_ranks(prob: Tensor) -> Tensor:
    """O(c): the rank of class c at each pixel, 0 for the most probable (Eq. 9).

    Probabilities (B, C, H, W) → long (B, C, H, W); of equal ones the smaller class id ranks first.
    """
    order = prob.argsort(dim=1, descending=True, stable=True)
    ranks = torch.arange(prob.shape[1], device=prob.device).view(1, -1, 1, 1)
    return torch.empty_like(order).scatter_(1, order, ranks.expand_as(order))


def _one_hot(label: Tensor, num_classes: int) -> Tensor:
    """Labels (B, H, W) as boolean (B, C, H, W); ids outside 0 ... C−1 are all False."""
    classes = torch.arange(num_classes, device=label.device).view(1, -1, 1, 1)
    return label.unsqueeze(1) == classes


def anchor_mask(prob: Tensor, label: Tensor, delta_p: float, ignore_index: int = 255) -> Tensor:
    """Anchors of every class: pixels of that class with p(c) > δ_p (Eq. 5-6).

    Args:
        prob: Teacher probabilities (B, C, H, W).
        label: (B, H, W): y, or ŷ with unreliable pixels already at ``ignore_index``.
        delta_p: The least probability.
        ignore_index: Pixels that are never anchors.

    Returns:
        Boolean (B, C, H, W).
    """
    valid = (label != ignore_index).unsqueeze(1)
    return _one_hot(label, prob.shape[1]) & valid & (prob > delta_p)


def labeled_negative_mask(
    ranks: Tensor, label: Tensor, low_rank: int, ignore_index: int = 255
) -> Tensor:
    """Labeled negatives of class c: another class's pixels that look like c (Eq. 10).

    Args:
        ranks: O(c), long (B, C, H, W).
        label: y, long (B, H, W).
        low_rank: r_l; a pixel looks like c when O(c) < r_l.
        ignore_index: Pixels that are never negatives.

    Returns:
        Boolean (B, C, H, W): y valid, y ≠ c and O(c) < r_l.
    """
    valid = (label != ignore_index).unsqueeze(1)
    return valid & ~_one_hot(label, ranks.shape[1]) & (ranks < low_rank)


def unlabeled_negative_mask(
    ranks: Tensor, unreliable: Tensor, low_rank: int, high_rank: int
) -> Tensor:
    """Unlabeled negatives of class c: unreliable pixels that are unlikely to be c (Eq. 11).

    Args:
        ranks: O(c), long (B, C, H, W).
        unreliable: Boolean (B, H, W), False on padding.
        low_rank: r_l.
        high_rank: r_h.

    Returns:
        Boolean (B, C, H, W): unreliable and r_l ≤ O(c) < r_h.
    """
    return unreliable.unsqueeze(1) & (ranks >= low_rank) & (ranks < high_rank)


def class_prototypes(rep: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean representation of each class (Eq. 7).

    Args:
        rep: Representations (B, D, H, W).
        mask: Boolean (B, C, H, W).

    Returns:
        Means (C, D), zero for a class with an empty mask, and which classes are present,
        boolean (C,).
    """
    rep = upcast(rep)
    total, count = rep.new_zeros(mask.shape[1], rep.shape[1]), rep.new_zeros(mask.shape[1])
    with torch.autocast(rep.device.type, enabled=False):  # sums overflow half precision
        for image_mask, pixels in zip(mask, rep, strict=True):
            weight = image_mask.flatten(1).to(rep.dtype)  # (C, H·W)
            count = count + weight.sum(1)
            total = total + weight @ pixels.flatten(1).T
    return total / count.clamp(min=1).unsqueeze(1), count > 0


def info_nce(anchors: Tensor, positives: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """InfoNCE over cosine similarities: one positive against N negatives (Eq. 8).

    Args:
        anchors: (..., M, D).
        positives: (..., 1, D) or (..., M, D).
        negatives: (..., M, N, D).
        temperature: τ > 0, else a ValueError.

    Returns:
        (...,): the mean over the M anchors; chance is ln(N + 1).
    """
    if temperature <= 0:
        raise ValueError(f'temperature must be positive, got {temperature}')
    anchors = F.normalize(upcast(anchors), dim=-1)
    positives = F.normalize(upcast(positives), dim=-1)
    negatives = upcast(negatives)
    positive = (anchors * positives).sum(-1, keepdim=True)  # (..., M, 1)
    # dividing the products by |negative| avoids a normalized copy of the largest tensor
    length = torch.linalg.vector_norm(negatives, dim=-1).clamp(min=1e-12)
    with torch.autocast(anchors.device.type, enabled=False):
        negative = torch.einsum('...md,...mnd->...mn', anchors, negatives) / length
    logits = torch.cat((positive, negative), dim=-1) / temperature  # (..., M, 1 + N)
    return (logits.logsumexp(-1) - logits[..., 0]).mean(-1)


def _nth_true(mask: Tensor, nth: Tensor) -> Tensor:
    """Position of the ``nth`` (from 0) True of each row of (C, P) → (C, K); P − 1 beyond the last."""
    counted = mask.cumsum(1, dtype=torch.int32)
    return torch.searchsorted(counted, (nth + 1).int()).clamp(max=mask.shape[1] - 1)


def draw_with_replacement(mask: Tensor, num: int) -> Tensor:
    """K = ``num`` uniform draws from the True positions of each row of a mask (C, P).

    Returns:
        Positions, long (C, K); meaningless for a row without any True.
    """
    count = mask.sum(1, keepdim=True)
    uniform = torch.rand((mask.shape[0], num), device=mask.device)
    return _nth_true(mask, (uniform * count).long().minimum((count - 1).clamp(min=0)))


def draw_without_replacement(mask: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """At most K = ``num`` distinct True positions of each row of a mask (C, P), equally likely.

    A row with more is sampled systematically: equal steps from a random start.

    Returns:
        Positions, long (C, K), and how many of each row hold, long (C,); the rest are filler.
    """
    count = mask.sum(1, keepdim=True)  # (C, 1)
    steps = torch.arange(num, device=mask.device)
    start = torch.rand((mask.shape[0], 1), device=mask.device, dtype=widest(mask))
    spread = ((steps + start) * count / num).long()  # float64 keeps neighbors distinct
    nth = torch.where(count > num, spread, steps)
    return _nth_true(mask, nth), count.squeeze(1).clamp(max=num)
