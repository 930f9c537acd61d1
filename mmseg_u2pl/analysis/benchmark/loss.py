"""The unsupervised and the contrastive loss against their reference implementation."""

from __future__ import annotations

from functools import partial
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
from . import plain
from .measure import MIB, interleaved, peak_memory

PERCENT = 80.0
"""100 − α_t at the start of training."""
COLUMNS = ('C', 'L_u', 'L_c', 'reference\nL_u', '\nL_c', 'reference /\npackage', 'peak MiB',
           'reference\npeak MiB')  # fmt: skip


def unsupervised(
    logits: Tensor, pseudo: Tensor, teacher_logits: Tensor, percent: float
) -> tuple[Tensor, Tensor]:
    """As in ``U2PL.semi_step``; arguments and results of :func:`.plain.unsupervised`."""
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
        package, reference = package.to(device), plain.PlainContrastiveLoss(package)
        for keys in package.bank.features:  # class by class, not to hold a second bank
            keys.copy_(F.normalize(torch.randn(keys.shape, device=device), dim=1))
        package.bank.count.fill_(bank_size)  # draws from an almost empty bank would stay in a cache
        reference.banks = [keys.float().cpu().clone() for keys in package.bank.features]
        self.unsupervised = dict(package=unsupervised, reference=plain.unsupervised)
        self.contrastive: dict[str, Any] = dict(package=package, reference=reference)
        self.unreliable = self.loss('package', 'unsupervised')[1]

    def loss(self, implementation: str, term: str) -> tuple[Tensor, Tensor]:
        """A loss, ``'unsupervised'`` or ``'contrastive'``, and the unreliable pixels (B, H, W)."""
        if term == 'unsupervised':
            teacher_logits = self.teacher_logits[len(self.labels) :]
            loss = self.unsupervised[implementation]
            return loss(self.logits, self.pseudo, teacher_logits, PERCENT)
        maps = self.rep, self.teacher_rep, self.teacher_logits
        labels = self.labels, self.pseudo, self.unreliable
        return self.contrastive[implementation](*maps, *labels), self.unreliable

    def run(self, implementation: str, *terms: str) -> None:
        """Forward and backward of terms."""
        for term in terms:
            self.loss(implementation, term)[0].backward()
            self.logits.grad = self.rep.grad = None


def measure_loss(bench: LossBenchmark, repeats: int) -> list[str]:
    """Cells of :data:`COLUMNS` after the first: milliseconds (medians of forward and backward)."""
    device = bench.rep.device
    runs = [(one, term) for one in bench.contrastive for term in ('unsupervised', 'contrastive')]
    calls = {str(run): partial(bench.run, *run) for run in runs}
    times, peaks = list(interleaved(calls, repeats, device).values()), []
    for one in bench.contrastive:
        with peak_memory(device) as peak:
            bench.run(one, 'unsupervised', 'contrastive')
        peaks.append(peak.bytes)
    ratio = sum(times[2:]) / sum(times[:2])
    return [*(f'{t:.1f}' for t in times), f'{ratio:.1f}×', *(f'{p / MIB:.0f}' for p in peaks)]
