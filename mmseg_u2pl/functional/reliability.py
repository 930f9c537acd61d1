"""Which pseudo-labels are reliable, and the loss on them (U²PL, Sec. 3.1-3.2, Eq. 2-4)."""

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .maps import Part, enlarge, sum_of_parts, upcast, widest

REVERSE_CE_FLOOR = 1e-4
"""Lower clamp of the one-hot target in reverse cross-entropy (U²PL+, symmetric cross-entropy)."""


def entropy_map(prob: Tensor, dim: int = 1) -> Tensor:
    """Entropy of each pixel's class distribution, in nats (U²PL, Eq. 2).

    Args:
        prob: Probabilities (B, C, ...), summing to one over ``dim``.
        dim: The class dimension.

    Returns:
        −Σ_c p_c ln p_c, of shape (B, ...); p = 0 contributes 0. Half precision comes back as
        float32.
    """
    return torch.special.entr(upcast(prob)).sum(dim)


def entropy_of_logits(logits: Tensor) -> Tensor:
    """:func:`entropy_map` of softmax(logits), in half the time: (B, C, ...) → (B, ...).

    With x_c the logits less their largest, H = ln Σ_c e^{x_c} − Σ_c e^{x_c} x_c / Σ_c e^{x_c}; both
    terms are small where H is.
    """
    x = upcast(logits)
    x = x - x.amax(1, keepdim=True)
    weight = x.exp()
    total = weight.sum(1)
    return total.log() - weight.mul_(x).sum(1) / total


def percentile_threshold(values: Tensor, percent: float, valid: Tensor | None = None) -> Tensor:
    """``numpy.percentile(values[valid], percent)``, without a host synchronization.

    Args:
        values: Any shape, floating.
        percent: In [0, 100], else a ValueError.
        valid: Boolean, the shape of ``values``; None means all.

    Returns:
        Scalar tensor, linearly interpolated between neighbors; +inf when nothing is valid.
    """
    _check_percent(percent)
    values = upcast(values.detach()).flatten()
    if values.numel() == 0:
        return values.new_full((), math.inf)
    valid = torch.ones_like(values, dtype=torch.bool) if valid is None else valid.flatten()
    values = values.masked_fill(~valid, math.inf)  # sorted behind all valid ones
    count = valid.sum()
    # float64: a float32 position is off by several pixels in a batch of a million
    position = (count - 1).clamp(min=0).to(widest(values)) * (percent / 100)
    places = torch.stack((position.floor(), position.ceil())).long()
    if values.is_cpu:  # selecting is quicker than sorting; torch's is slow on equal values
        ordered = torch.from_numpy(np.partition(values.numpy(), places.numpy()))
    else:
        ordered = values.sort().values
    below, above = ordered[places]
    threshold = torch.lerp(below, above, position.frac().to(values.dtype))
    return threshold.masked_fill(count == 0, math.inf)


def _check_percent(percent: float) -> None:
    if not 0 <= percent <= 100:
        raise ValueError(f'percent must be in [0, 100], got {percent}')


def class_percentile_thresholds(
    values: Tensor, label: Tensor, percent: float, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """:func:`percentile_threshold` within each class: (C,), +inf for a class without values.

    Args:
        values: Any shape, floating.
        label: Classes, the shape of ``values``, long.
        percent: In [0, 100], else a ValueError.
        num_classes: C.
        ignore_index: The label that is left out.
    """
    _check_percent(percent)
    values = upcast(values.detach()).flatten()
    label = label.flatten()
    label = label.masked_fill(label == ignore_index, num_classes)
    order = values.argsort()
    order = order[label[order].argsort(stable=True)]  # class by class, each ascending
    count = label.new_zeros(num_classes + 1).scatter_add_(0, label, torch.ones_like(label))
    first = count.cumsum(0) - count
    position = first + (count - 1).clamp(min=0).to(widest(values)) * (percent / 100)
    ordered = torch.cat((values[order], values.new_zeros(1)))  # an absent last class looks here
    below, above = ordered[position.floor().long()], ordered[position.ceil().long()]
    thresholds = torch.lerp(below, above, position.frac().to(ordered.dtype))
    return thresholds.masked_fill(count == 0, math.inf)[:num_classes]


def align_classes(logits: Tensor, share: Tensor, predicted_share: Tensor) -> Tensor:
    """Distribution alignment: p_c times ``share_c`` / ``predicted_share_c`` (ReMixMatch, Sec. 3.1).

    Args:
        logits: (B, C, ...), floating.
        share: Shares of the classes as they should be (C,); 0 is treated as 1e-6.
        predicted_share: What the network makes of them (C,), taken as at least ``share`` / 10.

    Returns:
        Logits, the shape of the input, in float32 or better.
    """
    share = share.clamp(min=1e-6)
    shift = share.log() - torch.maximum(predicted_share, share / 10).log()
    return upcast(logits) + shift.view(-1, *[1] * (logits.dim() - 2))


def pseudo_label_loss(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    reverse_weight: float = 0.0,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropy over the pixels whose pseudo-label is kept, and their number.

    Args:
        logits: Student logits (B, C, h, w), enlarged bilinearly to the size of the target, an
            image at a time: no map of (B, C, H, W) exists.
        target: Pseudo-labels (B, H, W), long; ``ignore_index`` where not kept.
        ignore_index: The label that is left out.
        reverse_weight: Weight of reverse cross-entropy, −Σ_c p_c ln q_c with the one-hot q
            clamped to [1e-4, 1] (U²PL+ uses 0.1; 0 turns it off).
        align_corners: Of the enlargement, as in ``F.interpolate``.

    Returns:
        Two scalars. Nothing kept: the sum is exactly 0, with a graph.
    """

    def of_image(logits: Tensor, target: Tensor) -> Tensor:
        logits = enlarge(logits, target.shape[1:], align_corners)
        loss = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction='sum')
        if not reverse_weight:
            return loss
        kept = target != ignore_index
        safe = target.masked_fill(~kept, 0).unsqueeze(1)
        prob = logits.softmax(1).gather(1, safe).squeeze(1)  # (B, H, W), p of the pseudo-label
        reverse = (prob - 1) * math.log(REVERSE_CE_FLOOR)  # only the other classes contribute
        return loss + reverse_weight * (reverse * kept).sum()

    parts: list[Part] = [
        (slice(index, index + 1), partial(of_image, target=image))
        for index, image in enumerate(target.split(1))
    ]
    loss = sum_of_parts(upcast(logits), parts)
    return loss, (target != ignore_index).sum()


def reliable_loss(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    reverse_weight: float = 0.0,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor]:
    """λ_u·L_u of U²PL: mean over the kept pixels, times λ_u, the inverse of their share (Eq. 3-4).

    Arguments as in :func:`pseudo_label_loss`.

    Returns:
        The loss λ_u·L_u and λ_u = B·H·W / #kept, scalars. Nothing kept: both are exactly 0.
    """
    loss, count = pseudo_label_loss(logits, target, ignore_index, reverse_weight, align_corners)
    at_least_one = count.clamp(min=1)
    weight = (target.numel() / at_least_one) * (count > 0)
    return weight * loss / at_least_one, weight


def unsupervised_loss(
    logits: Tensor, target: Tensor, entropy: Tensor, percent: float, ignore_index: int = 255
) -> Tensor:
    """The unsupervised loss λ_u·L_u on the reliable share of the pseudo-labels (Eq. 2-4).

    Args:
        logits: Student logits (B, C, H, W).
        target: Pseudo-labels (B, H, W), long; ``ignore_index`` marks padding.
        entropy: Teacher entropy (B, H, W), nats.
        percent: 100 − α_t: pixels strictly below this percentile of the valid are reliable.
        ignore_index: The label that is left out.

    Returns:
        Scalar; exactly 0, with a graph, when nothing is kept. Inputs are not modified.
    """
    valid = target != ignore_index
    threshold = percentile_threshold(entropy, percent, valid)
    reliable = valid & (upcast(entropy) < threshold)
    return reliable_loss(logits, target.masked_fill(~reliable, ignore_index), ignore_index)[0]
