"""U²PL's losses the plain way: a loop over classes, numpy's percentile, a bank on the CPU.

The same formulas as ``functional/`` and ``UnreliableContrastiveLoss``, as one would first write
them down: what the package is compared with, for values in the tests and for time and memory in
``tools/benchmark.py``.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255


def unsupervised(
    logits: Tensor, target: Tensor, prob: Tensor, percent: float
) -> tuple[Tensor, Tensor]:
    """λ_u·L_u, and which pixels are unreliable (Eq. 2-4).

    Args:
        logits: Of the student, (B, C, H, W).
        target: Pseudo-labels (B, H, W), 255 on pads.
        prob: Of the teacher, (B, C, H, W).
        percent: 100 − α_t.

    Returns:
        Scalar and boolean (B, H, W).
    """
    entropy = -(prob * torch.log(prob + 1e-10)).sum(1)
    valid = target != IGNORE
    if not valid.any():
        return 0.0 * logits.sum(), valid
    threshold = float(np.percentile(entropy[valid].cpu().numpy(), percent))
    unreliable = valid & (entropy >= threshold)
    kept = target.clone()
    kept[unreliable] = IGNORE
    count = int((kept != IGNORE).sum())
    if count == 0:
        return 0.0 * logits.sum(), unreliable
    weight = target.numel() / count
    return weight * F.cross_entropy(logits, kept, ignore_index=IGNORE), unreliable


class PlainContrastiveLoss:
    """L_c (Eq. 5-11), class by class; the arguments are those of ``UnreliableContrastiveLoss``."""

    def __init__(
        self, num_classes: int, channels: int, delta_p: float, low_rank: int, high_rank: int,
        num_anchors: int, num_negatives: int, temperature: float, bank_size: int,
        keys_per_step: int,
    ) -> None:  # fmt: skip
        self.delta_p, self.low_rank, self.high_rank = delta_p, low_rank, high_rank
        self.num_anchors, self.num_negatives = num_anchors, num_negatives
        self.temperature, self.bank_size = temperature, bank_size
        self.keys_per_step = keys_per_step
        self.banks = [torch.zeros(0, channels) for _ in range(num_classes)]

    def __call__(
        self, rep: Tensor, teacher_rep: Tensor, prob: Tensor, label: Tensor, unreliable: Tensor,
        num_labeled: int,
    ) -> Tensor:  # fmt: skip
        """Push this step's keys and return the loss; shapes as in ``UnreliableContrastiveLoss``."""
        order = torch.sort(prob, dim=1, descending=True, stable=True).indices  # (B, C, h, w)
        pixels = rep.permute(0, 2, 3, 1)  # (B, h, w, D)
        teacher_pixels = teacher_rep.permute(0, 2, 3, 1)
        labeled = label[:num_labeled]
        losses = []
        for c in range(prob.shape[1]):
            anchor = (label == c) & (prob[:, c] > self.delta_p)  # (B, h, w)
            likely = (order[:num_labeled, : self.low_rank] == c).any(1)
            unlikely = (order[num_labeled:, self.low_rank : self.high_rank] == c).any(1)
            another = (labeled != IGNORE) & (labeled != c)
            negative = torch.cat((another & likely, unreliable & unlikely))

            keys = teacher_pixels[negative].detach().cpu()
            keys = keys[torch.randperm(len(keys))[: self.keys_per_step]]
            self.banks[c] = torch.cat((self.banks[c], keys))[-self.bank_size :]
            if not anchor.any() or len(self.banks[c]) == 0:
                continue
            bank = self.banks[c].to(rep.device)  # the whole of it
            positive = teacher_pixels[anchor].mean(0, keepdim=True).detach()
            queries = pixels[anchor]
            queries = queries[torch.randint(len(queries), (self.num_anchors,))]
            drawn = torch.randint(len(bank), (self.num_anchors * self.num_negatives,))
            negatives = bank[drawn].view(self.num_anchors, self.num_negatives, -1)
            positives = positive.expand(self.num_anchors, -1).unsqueeze(1)
            keys = torch.cat((positives, negatives), dim=1)  # (M, 1 + N, D)
            logits = F.cosine_similarity(queries.unsqueeze(1), keys, dim=2) / self.temperature
            first = torch.zeros(self.num_anchors, dtype=torch.long, device=rep.device)
            losses.append(F.cross_entropy(logits, first))
        return torch.stack(losses).mean() if losses else 0.0 * rep.sum()
