"""The unsupervised and the contrastive loss against their reference implementation."""

from __future__ import annotations

import statistics
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...functional import (
    IGNORE,
    by_images,
    entropy_of_logits,
    hard_labels,
    percentile_threshold,
    reliable_loss,
)
from ...models import UnreliableContrastiveLoss
from . import reference
from .measure import MIB, clock, peak_memory

PERCENT = 80.0
"""100 − α_t at the start of training."""
COLUMNS = ('C', 'L_u', 'L_c', 'reference\nL_u', '\nL_c', 'reference /\npackage', 'peak MiB',
           'reference\npeak MiB')  # fmt: skip


def unsupervised(
    logits: Tensor, pseudo: Tensor, teacher_logits: Tensor, percent: float
) -> tuple[Tensor, Tensor]:
    """As in ``U2PL.semi_step``; arguments and results of :func:`.reference.unsupervised`."""
    entropy = by_images(entropy_of_logits, teacher_logits, pseudo.shape[1:], align_corners=False)
    valid = pseudo != IGNORE
    unreliable = valid & (entropy >= percentile_threshold(entropy, percent, valid))
    return reliable_loss(logits, pseudo.masked_fill(unreliable, IGNORE))[0], unreliable


class LossBenchmark:
    """Package and reference on the same random maps, with full banks.

    Probabilities are mostly confident, labels mostly right. Arguments are those of the command line:
    C, pixels of a side, stride of logits and representations, B labeled and as many unlabeled images,
    D, representations a class.
    """

    def __init__(
        self, classes: int, size: int, stride: int, images: int, channels: int, bank_size: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        small = -(-size // stride)
        generator = torch.Generator(device).manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, small, small, generator=generator, device=device)

        self.logits = normal(images, classes).requires_grad_()
        self.teacher_logits = 4 * normal(2 * images, classes)  # labeled images first
        self.rep = normal(2 * images, channels).requires_grad_()
        self.teacher_rep = normal(2 * images, channels)
        labels = hard_labels(self.teacher_logits, (size, size), align_corners=False)
        self.labels, self.pseudo = labels.split(images)  # y and ŷ, (B, H, W)
        wrong = torch.rand(self.labels.shape, generator=generator, device=device) < 0.2
        self.labels = torch.where(wrong, (self.labels + 1) % classes, self.labels)

        package = UnreliableContrastiveLoss(classes, channels, bank_size=bank_size, loss_weight=1.0)
        package.to(device)
        for keys in package.bank.features:  # class by class, not to hold a second bank
            keys.copy_(F.normalize(torch.randn(keys.shape, device=device), dim=1))
        package.bank.count.fill_(bank_size)  # draws from an almost empty bank would stay in a cache
        plain = reference.ReferenceContrastiveLoss(package)
        plain.banks = [keys.float().cpu().clone() for keys in package.bank.features]
        self.losses: dict[str, tuple[Any, Any]] = {
            'package': (unsupervised, package),
            'reference': (reference.unsupervised, plain),
        }
        self.unreliable = self.unsupervised('package')[1]

    def unsupervised(self, implementation: str) -> tuple[Tensor, Tensor]:
        """λ_u·L_u, and the unreliable pixels (B, H, W)."""
        teacher_logits = self.teacher_logits[len(self.labels) :]
        loss = self.losses[implementation][0]
        return loss(self.logits, self.pseudo, teacher_logits, PERCENT)

    def contrastive(self, implementation: str) -> Tensor:
        """L_c."""
        maps = self.rep, self.teacher_rep, self.teacher_logits
        loss = self.losses[implementation][1]
        return loss(*maps, self.labels, self.pseudo, self.unreliable)

    def run(self, implementation: str) -> tuple[float, float]:
        """Milliseconds of forward and backward of L_u and of L_c."""
        start = clock(self.rep.device)
        self.unsupervised(implementation)[0].backward()
        self.logits.grad = None
        middle = clock(self.rep.device)
        self.contrastive(implementation).backward()
        end = clock(self.rep.device)
        self.rep.grad = None
        return middle - start, end - middle


def measure_loss(bench: LossBenchmark, repeats: int) -> list[str]:
    """Cells of :data:`COLUMNS` after the first: medians of milliseconds, their ratio, peaks.

    Both implementations take turns, so that a busy machine slows both. The first turn, in which
    memory is measured, does not count.
    """
    peaks = []
    for implementation in bench.losses:
        with peak_memory(bench.rep.device) as peak:
            bench.run(implementation)
        peaks.append(f'{peak.bytes / MIB:.0f}')
    turns = [[*bench.run('package'), *bench.run('reference')] for _ in range(repeats)]
    times = [statistics.median(column) for column in zip(*turns, strict=True)]
    ratio = sum(times[2:]) / sum(times[:2])
    return [*(f'{time:.1f}' for time in times), f'{ratio:.1f}×', *peaks]
