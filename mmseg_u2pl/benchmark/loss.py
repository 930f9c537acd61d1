"""The unsupervised and the contrastive loss, ours against the plain way, over classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from ..functional import (
    by_bands,
    consistency_loss,
    entropy_of_logits,
    hard_labels,
    percentile_threshold,
)
from ..models.losses import UnreliableContrastiveLoss
from ..models.segmentors.semi import IGNORE
from ..models.segmentors.u2pl import nearest
from . import plain
from .measure import MIB, interleaved, peak_bytes, tensor_bytes

TERMS = ('unsupervised', 'contrastive')
PERCENT = 80.0
"""100 − α_t at the start of training."""


class LossInputs(NamedTuple):
    """What networks and teacher hand to the losses; the first half of the images is labeled."""

    logits: Tensor  # of the student, (B_u, C, h, w)
    target: Tensor  # ŷ (B_u, H, W)
    teacher_logits: Tensor  # (B_u, C, h, w)
    rep: Tensor  # (B, D, h, w)
    teacher_rep: Tensor  # (B, D, h, w)
    prob: Tensor  # of the teacher, (B, C, h, w)
    labels: Tensor  # y (B_l, h, w)


class LossResult(NamedTuple):
    """Medians of forward and backward, milliseconds, and peak memory, bytes."""

    classes: int
    ours: tuple[float, float]  # unsupervised, contrastive
    plain: tuple[float, float]
    ours_peak: int
    plain_peak: int
    bank: int

    @property
    def ratio(self) -> float:
        """Time of the plain way over ours."""
        return sum(self.plain) / sum(self.ours)


def random_inputs(
    classes: int, size: int, stride: int, images: int, channels: int, device: torch.device
) -> LossInputs:
    """Random maps with mostly confident probabilities and mostly right labels.

    Args:
        classes: C.
        size: H and W, pixels.
        stride: Of the representations: h = w = ⌈size / stride⌉.
        images: B_l and B_u.
        channels: D.
        device: Where they are made.
    """
    small = -(-size // stride)
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    teacher_logits = 4 * normal(images, classes, small, small)
    prob = (4 * normal(2 * images, classes, small, small)).softmax(1)
    labels = prob[:images].argmax(1)
    wrong = torch.rand(labels.shape, generator=generator, device=device) < 0.2
    labels[wrong] = (labels[wrong] + 1) % classes
    rep_shape = (2 * images, channels, small, small)
    return LossInputs(
        normal(images, classes, small, small).requires_grad_(),
        hard_labels(teacher_logits, (size, size), align_corners=False),
        teacher_logits,
        normal(*rep_shape).requires_grad_(),
        normal(*rep_shape),
        prob,
        labels,
    )


class LossBenchmark:
    """Both ways on the same inputs, with full banks.

    Args:
        inputs: What the losses take.
        bank_size: Representations a class.
    """

    def __init__(self, inputs: LossInputs, bank_size: int) -> None:
        self.inputs = inputs
        classes, channels = inputs.prob.shape[1], inputs.rep.shape[1]
        ours = UnreliableContrastiveLoss(classes, channels, bank_size=bank_size)
        self.ours = ours.to(inputs.rep.device)
        names = ('delta_p', 'low_rank', 'high_rank', 'num_anchors', 'num_negatives',
                 'temperature', 'keys_per_step')  # fmt: skip
        settings = {name: getattr(ours, name) for name in names}
        self.plain = plain.PlainContrastiveLoss(classes, channels, bank_size=bank_size, **settings)
        fill_bank(self.ours)
        self.plain.banks = [own.float().cpu().clone() for own in self.ours.bank.features]
        self._unreliable: Tensor

    def ours_unsupervised(self) -> Tensor:
        """As in ``U2PL.loss``."""
        target = self.inputs.target
        entropy = by_bands(
            entropy_of_logits, self.inputs.teacher_logits, target.shape[1:], align_corners=False
        )
        valid = target != IGNORE
        self._unreliable = valid & (entropy >= percentile_threshold(entropy, PERCENT, valid))
        kept = target.masked_fill(self._unreliable, IGNORE)
        return consistency_loss(self.inputs.logits, kept, IGNORE)[0]

    def ours_contrastive(self) -> Tensor:
        """After :meth:`ours_unsupervised`, which tells what is unreliable."""
        return self.ours(*self._contrastive_arguments())[0]

    def plain_unsupervised(self) -> Tensor:
        """As in :mod:`.plain`."""
        logits, teacher_logits = (
            F.interpolate(own, self.inputs.target.shape[1:], mode='bilinear')
            for own in (self.inputs.logits, self.inputs.teacher_logits)
        )
        loss, self._unreliable = plain.unsupervised(
            logits, self.inputs.target, teacher_logits.softmax(1), PERCENT
        )
        return loss

    def plain_contrastive(self) -> Tensor:
        """After :meth:`plain_unsupervised`."""
        return self.plain(*self._contrastive_arguments())

    def run(self, way: str, terms: Sequence[str] = TERMS) -> None:
        """Forward and backward of terms, the way ``'ours'`` or ``'plain'``."""
        for term in terms:
            getattr(self, f'{way}_{term}')().backward()
            self.inputs.logits.grad = self.inputs.rep.grad = None

    def _contrastive_arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]:
        size = self.inputs.rep.shape[2:]
        reliable = self.inputs.target.masked_fill(self._unreliable, IGNORE)
        label = torch.cat((self.inputs.labels, nearest(reliable, size)))
        unreliable = nearest(self._unreliable, size)
        inputs = self.inputs
        return (
            inputs.rep, inputs.teacher_rep, inputs.prob, label, unreliable, len(inputs.labels)
        )  # fmt: skip


def fill_bank(loss: UnreliableContrastiveLoss) -> None:
    """Random keys everywhere: draws from an almost empty bank stay in the cache."""
    bank = loss.bank
    for own in bank.features:  # class by class, not to hold a second bank
        own.copy_(torch.nn.functional.normalize(torch.randn(own.shape, device=own.device), dim=1))
    bank.count.fill_(bank.size)


def measure_loss(
    classes: int, *, size: int, stride: int, images: int, channels: int, bank_size: int,
    repeats: int, device: torch.device,
) -> LossResult:  # fmt: skip
    """Time and memory of both ways at one number of classes; arguments as in the command line."""
    inputs = random_inputs(classes, size, stride, images, channels, device)
    bench = LossBenchmark(inputs, bank_size)
    names = [(way, term) for way in ('ours', 'plain') for term in TERMS]
    calls = {f'{way} {term}': partial(bench.run, way, [term]) for way, term in names}
    times = interleaved(calls, repeats, device)

    def peak(way: str) -> int:
        return peak_bytes(partial(bench.run, way), device)

    return LossResult(
        classes,
        (times['ours unsupervised'], times['ours contrastive']),
        (times['plain unsupervised'], times['plain contrastive']),
        peak('ours'),
        peak('plain'),
        tensor_bytes([bench.ours.bank.features]),
    )


def loss_table(results: Iterable[LossResult], title: str) -> Table:
    """One row a number of classes."""
    caption = 'medians of forward and backward, ms; memory beyond inputs and bank, MiB'
    table = Table(title=title, title_style='bold', caption=caption)
    for name in ('C', 'ours', 'L_u', 'L_c', 'plain', 'L_u', 'L_c', 'plain/\nours', 'peak',
                 'peak\nplain', 'bank'):  # fmt: skip
        table.add_column(name, justify='right')
    for own in results:
        times = (sum(own.ours), *own.ours, sum(own.plain), *own.plain)
        table.add_row(
            str(own.classes),
            *(f'{time:.0f}' if time >= 100 else f'{time:.1f}' for time in times),
            f'{own.ratio:.1f}×',
            *(f'{size / MIB:.0f}' for size in (own.ours_peak, own.plain_peak, own.bank)),
        )
    return table
