"""Reference implementation of U²PL's losses: a loop over classes, a bank on the CPU.

The formulas of ``functional/`` and ``UnreliableContrastiveLoss``, written down directly. The package
is compared with it: values in the tests, time and memory in ``tools/benchmark.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...functional import IGNORE, nearest


def unsupervised(
    logits: Tensor, pseudo: Tensor, teacher_logits: Tensor, percent: float
) -> tuple[Tensor, Tensor]:
    """λ_u·L_u, a scalar, and which pixels are unreliable, boolean (B, H, W) (Eq. 2-4).

    Args:
        logits: Of the student, (B, C, h, w).
        pseudo: Pseudo-labels (B, H, W), 255 on padding.
        teacher_logits: (B, C, h, w).
        percent: 100 − α_t.
    """
    size = tuple(pseudo.shape[1:])
    logits = F.interpolate(logits, size, mode='bilinear')
    prob = F.interpolate(teacher_logits, size, mode='bilinear').softmax(1)
    entropy = -(prob * torch.log(prob + 1e-10)).sum(1)
    unreliable = valid = pseudo != IGNORE
    if valid.any():
        threshold = float(np.percentile(entropy[valid].cpu().numpy(), percent))
        unreliable = valid & (entropy >= threshold)
    kept = pseudo.masked_fill(unreliable, IGNORE)
    count = int((kept != IGNORE).sum())
    loss = F.cross_entropy(logits, kept, ignore_index=IGNORE, reduction='sum')
    return kept.numel() / max(1, count) ** 2 * loss, unreliable  # λ_u times a mean


class ReferenceContrastiveLoss:
    """L_c (Eq. 5-11), class by class, with the settings of an ``UnreliableContrastiveLoss``."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        classes, _, channels = settings.bank.features.shape
        self.banks = [torch.zeros(0, channels) for _ in range(classes)]

    def __call__(
        self, rep: Tensor, teacher_rep: Tensor, teacher_logits: Tensor, labels: Tensor,
        pseudo: Tensor, unreliable: Tensor,
    ) -> Tensor:  # fmt: skip
        """Push this step's keys and return the loss; logits have the size of ``rep``."""
        loss, size, num_labeled = self.settings, rep.shape[2:], len(labels)
        labels = nearest(labels, size)
        reliable = nearest(pseudo.masked_fill(unreliable, IGNORE), size)
        label, unreliable = torch.cat((labels, reliable)), nearest(unreliable, size)
        prob = teacher_logits.softmax(1)
        order = torch.sort(prob, dim=1, descending=True, stable=True).indices  # (B, C, h, w)
        pixels = rep.permute(0, 2, 3, 1)  # (B, h, w, D)
        teacher_pixels = teacher_rep.permute(0, 2, 3, 1)
        losses = []
        for c in range(prob.shape[1]):
            anchor = (label == c) & (prob[:, c] > loss.delta_p)  # (B, h, w)
            likely = (order[:num_labeled, : loss.low_rank] == c).any(1)
            unlikely = (order[num_labeled:, loss.low_rank : loss.high_rank] == c).any(1)
            another = (labels != IGNORE) & (labels != c)
            negative = torch.cat((another & likely, unreliable & unlikely))

            keys = teacher_pixels[negative].detach().cpu()
            keys = keys[torch.randperm(len(keys))[: loss.keys_per_step]]
            self.banks[c] = torch.cat((self.banks[c], keys))[-loss.bank.size :]
            if not anchor.any() or len(self.banks[c]) == 0:
                continue
            bank = self.banks[c].to(rep.device)  # all of it
            positive = teacher_pixels[anchor].mean(0, keepdim=True).detach()
            queries = pixels[anchor]
            queries = queries[torch.randint(len(queries), (loss.num_anchors,))]
            drawn = torch.randint(len(bank), (loss.num_anchors * loss.num_negatives,))
            negatives = bank[drawn].view(loss.num_anchors, loss.num_negatives, -1)
            positives = positive.expand(loss.num_anchors, -1).unsqueeze(1)
            keys = torch.cat((positives, negatives), dim=1)  # (M, 1 + N, D)
            logits = F.cosine_similarity(queries.unsqueeze(1), keys, dim=2) / loss.temperature
            first = torch.zeros(loss.num_anchors, dtype=torch.long, device=rep.device)
            losses.append(F.cross_entropy(logits, first))
        return torch.stack(losses).mean() if losses else 0.0 * rep.sum()
