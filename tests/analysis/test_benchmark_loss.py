"""The reference implementation against the package's losses, the slow reference and by hand."""

import math
from typing import Any

import pytest
import reference
import torch

from mmseg_u2pl.analysis.benchmark import loss as benchmark
from mmseg_u2pl.analysis.benchmark.loss import LossBenchmark, measure_loss
from mmseg_u2pl.analysis.benchmark.reference import ReferenceContrastiveLoss, unsupervised
from mmseg_u2pl.models import UnreliableContrastiveLoss

CPU = torch.device('cpu')
SETTINGS: dict[str, Any] = dict(delta_p=0.3, low_rank=1, high_rank=20, num_anchors=4, num_negatives=2,
                temperature=0.5, bank_size=16, keys_per_step=8)  # fmt: skip


def plain_loss(channels=2, classes=3, **changes):
    settings = {**SETTINGS, 'loss_weight': 1.0, **changes}
    return ReferenceContrastiveLoss(UnreliableContrastiveLoss(classes, channels, **settings))


def pixels(*rows):
    """(B, ..., 1, 1) of rows, one an image."""
    return torch.tensor(rows)[..., None, None]


# ------------------------------------------------------------------------------ L_u
@pytest.mark.parametrize('percent', [0.0, 37.0, 80.0, 100.0])
def test_unsupervised_is_the_packages(percent):
    generator = torch.Generator().manual_seed(3)
    logits, teacher_logits = (torch.randn(2, 4, 3, 4, generator=generator) for _ in range(2))
    pseudo = torch.randint(0, 4, (2, 9, 14), generator=generator)
    pseudo[:, -1] = 255
    loss, unreliable = unsupervised(logits, pseudo, teacher_logits, percent)
    expected, same = benchmark.unsupervised(logits, pseudo, teacher_logits, percent)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert torch.equal(unreliable, same)
    assert not unreliable[:, -1].any()


def test_unsupervised_of_padding_alone_is_zero():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    pseudo = torch.full((1, 3, 3), 255)
    loss, unreliable = unsupervised(logits, pseudo, logits.detach(), 80)
    loss.backward()
    assert loss.item() == 0
    assert not unreliable.any()


# ------------------------------------------------------------------------------ L_c
def by_hand():
    """One anchor of class 0, and one unreliable pixel: a key of classes 0 (rank 1) and 2."""
    rep = pixels([1.0, 0.0], [-3.0, 0.0]).requires_grad_()
    logits = pixels([0.8, 0.1, 0.1], [0.45, 0.46, 0.09]).log()
    labels, pseudo = torch.zeros(1, 1, 1, dtype=torch.long), torch.ones(1, 1, 1, dtype=torch.long)
    return rep, rep.detach(), logits, labels, pseudo, pseudo == 1


def test_contrastive_by_hand_and_as_the_package():
    plain = plain_loss()
    loss = plain(*by_hand())
    # two negatives at cosine −1, the positive at 1, τ = ½
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-4)), rel=1e-4)
    assert [len(bank) for bank in plain.banks] == [1, 0, 1]
    assert loss.item() == pytest.approx(plain.settings(*by_hand()).item(), rel=1e-4)


def test_contrastive_without_an_anchor_is_zero_with_a_graph():
    rep, *maps, labels, pseudo, unreliable = by_hand()
    loss = plain_loss()(rep, *maps, labels + 255, pseudo, unreliable)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(rep.grad, torch.zeros_like(rep))


def test_the_bank_forgets_the_oldest():
    plain = plain_loss(bank_size=2)
    for step in (1.0, 2.0, 3.0):
        _, _, *rest = by_hand()
        plain(torch.full((2, 2, 1, 1), step), torch.full((2, 2, 1, 1), step), *rest)
    assert plain.banks[0][:, 0].tolist() == [2, 3]


def test_contrastive_has_the_references_mean():
    generator = torch.Generator().manual_seed(5)
    size, num_labeled = (4, 3, 3), 2
    rep, teacher_rep = (torch.randn(4, 2, 3, 3, generator=generator) for _ in range(2))
    logits = 2 * torch.randn(4, 4, 3, 3, generator=generator)
    label = torch.randint(0, 4, size, generator=generator)
    unreliable = torch.rand(size, generator=generator)[num_labeled:] < 0.4
    drawn = dict(num_anchors=20_000, num_negatives=1, bank_size=999, keys_per_step=999)
    labels, pseudo = label.split(num_labeled)
    plain = plain_loss(classes=4, **drawn)
    loss = plain(rep, teacher_rep, logits, labels, pseudo, unreliable)
    label[num_labeled:][unreliable] = 255
    expected = reference.contrastive_expectation(
        rep.numpy(),
        teacher_rep.numpy(),
        logits.softmax(1).numpy(),
        label.numpy(),
        unreliable.numpy(),
        num_labeled,
        SETTINGS,
    )
    assert expected > 0.5
    assert loss.item() == pytest.approx(expected, rel=0.02)


# ------------------------------------------------------------------------------ the benchmark
def bench(classes=3, size=17, images=1, channels=4, bank_size=600):
    return LossBenchmark(classes, size, 4, images, channels, bank_size, CPU)


def test_both_implementations_get_the_same_inputs_and_agree():
    both = bench(5, size=33, images=2, channels=8, bank_size=300)
    assert both.logits.shape == (2, 5, 9, 9)
    assert both.pseudo.shape == both.labels.shape == (2, 33, 33)
    bank, banks = both.losses['package'][1].bank, both.losses['reference'][1].banks
    torch.testing.assert_close(banks[2], bank.features[2].float())
    # some 1000 anchors of 256 · 50 pairs: the mean of the random draws is steady
    for loss, tolerance in (
        (lambda one: both.unsupervised(one)[0], 1e-4),
        (both.contrastive, 0.05),
    ):
        expected = loss('reference').item()
        assert loss('package').item() == pytest.approx(expected, rel=tolerance)


def test_a_run_goes_backward_and_clears_up():
    both, seen = bench(bank_size=8), []
    both.rep.register_hook(lambda grad: seen.append(grad.abs().sum() > 0))
    for implementation in ('package', 'reference'):
        assert min(both.run(implementation)) > 0
    assert seen == [True, True]
    assert both.rep.grad is None
    assert both.logits.grad is None


def test_the_cells_are_times_their_ratio_and_peaks():
    cells = measure_loss(bench(), repeats=1)
    assert len(cells) == len(benchmark.COLUMNS) - 1
    times, (ratio, *peaks) = [float(cell) for cell in cells[:4]], cells[4:]
    assert float(ratio[:-1]) == pytest.approx(sum(times[2:]) / sum(times[:2]), abs=0.1, rel=0.05)
    assert all(int(peak) >= 0 for peak in peaks)
