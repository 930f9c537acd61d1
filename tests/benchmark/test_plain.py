"""The plain losses against the package's, against the slow reference and by hand."""

import math
from typing import Any

import pytest
import reference
import torch

from mmseg_u2pl.benchmark.loss import LossBenchmark, measure_loss, random_inputs
from mmseg_u2pl.benchmark.plain import PlainContrastiveLoss, unsupervised
from mmseg_u2pl.functional import entropy_map, unsupervised_loss
from mmseg_u2pl.models import UnreliableContrastiveLoss

CPU = torch.device('cpu')
SETTINGS: dict[str, Any] = dict(delta_p=0.3, low_rank=1, high_rank=20, num_anchors=4, num_negatives=2,
                temperature=0.5, bank_size=16, keys_per_step=8)  # fmt: skip


def pixels(*rows):
    """(B, ..., 1, 1) of rows, one an image."""
    return torch.tensor(rows)[..., None, None]


# ------------------------------------------------------------------------------ L_u
@pytest.mark.parametrize('percent', [0.0, 37.0, 80.0, 100.0])
def test_unsupervised_is_the_packages(percent):
    generator = torch.Generator().manual_seed(3)
    logits, teacher = (torch.randn(2, 4, 5, 6, generator=generator) for _ in range(2))
    prob = teacher.softmax(1)
    target = prob.argmax(1)
    target[:, -1] = 255
    loss, unreliable = unsupervised(logits, target, prob, percent)
    assert loss.item() == pytest.approx(
        unsupervised_loss(logits, target, entropy_map(prob), percent).item(), rel=1e-4
    )
    assert not unreliable[:, -1].any()


def test_unsupervised_of_pads_alone_is_zero():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    target = torch.full((1, 3, 3), 255)
    loss, unreliable = unsupervised(logits, target, logits.detach().softmax(1), 80)
    loss.backward()
    assert loss.item() == 0
    assert not unreliable.any()


# ------------------------------------------------------------------------------ L_c
def by_hand():
    """One anchor of class 0, and one unreliable pixel: a key of classes 0 (rank 1) and 2."""
    rep = pixels([1.0, 0.0], [-3.0, 0.0]).requires_grad_()
    prob = pixels([0.8, 0.1, 0.1], [0.45, 0.46, 0.09])
    label = pixels([0], [255])[:, 0]
    return rep, rep.detach(), prob, label, torch.ones(1, 1, 1, dtype=torch.bool), 1


def test_contrastive_by_hand_and_as_the_package():
    plain = PlainContrastiveLoss(3, 2, **SETTINGS)
    loss = plain(*by_hand())
    # two negatives at cosine −1, the positive at 1, τ = ½
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-4)), rel=1e-4)
    assert [len(bank) for bank in plain.banks] == [1, 0, 1]
    ours = UnreliableContrastiveLoss(3, channels=2, **SETTINGS)
    assert loss.item() == pytest.approx(ours(*by_hand())[0].item(), rel=1e-4)


def test_contrastive_without_an_anchor_is_zero_with_a_graph():
    rep, teacher_rep, prob, label, unreliable, num_labeled = by_hand()
    label[0] = 255
    loss = PlainContrastiveLoss(3, 2, **SETTINGS)(
        rep, teacher_rep, prob, label, unreliable, num_labeled
    )
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(rep.grad, torch.zeros_like(rep))


def test_the_bank_forgets_the_oldest():
    plain = PlainContrastiveLoss(3, 2, **{**SETTINGS, 'bank_size': 2})
    for step in (1.0, 2.0, 3.0):
        _, _, *rest = by_hand()
        plain(torch.full((2, 2, 1, 1), step), torch.full((2, 2, 1, 1), step), *rest)
    assert plain.banks[0][:, 0].tolist() == [2, 3]


def test_contrastive_has_the_references_mean():
    generator = torch.Generator().manual_seed(5)
    size, num_labeled = (4, 3, 3), 2
    rep, teacher_rep = (torch.randn(4, 2, 3, 3, generator=generator) for _ in range(2))
    prob = (2 * torch.randn(4, 4, 3, 3, generator=generator)).softmax(1)
    label = torch.randint(0, 4, size, generator=generator)
    unreliable = torch.rand(size, generator=generator)[num_labeled:] < 0.4
    label[num_labeled:][unreliable] = 255
    drawn = dict(SETTINGS, num_anchors=20_000, num_negatives=1, bank_size=999, keys_per_step=999)
    loss = PlainContrastiveLoss(4, 2, **drawn)(
        rep, teacher_rep, prob, label, unreliable, num_labeled
    )
    expected = reference.contrastive_expectation(
        rep.numpy(),
        teacher_rep.numpy(),
        prob.numpy(),
        label.numpy(),
        unreliable.numpy(),
        num_labeled,
        SETTINGS,
    )
    assert expected > 0.5
    assert loss.item() == pytest.approx(expected, rel=0.02)


# ------------------------------------------------------------------------------ both ways
def test_both_ways_get_the_same_inputs_and_agree():
    inputs = random_inputs(5, size=33, stride=4, images=2, channels=8, device=CPU)
    assert inputs.logits.shape == inputs.teacher_logits.shape == (2, 5, 9, 9)
    assert inputs.target.shape == (2, 33, 33)
    assert inputs.rep.shape == (4, 8, 9, 9)
    bench = LossBenchmark(inputs, bank_size=300)
    torch.testing.assert_close(bench.plain.banks[2], bench.ours.bank.features[2].float())
    assert bench.ours_unsupervised().item() == pytest.approx(
        bench.plain_unsupervised().item(), rel=1e-4
    )
    # some 1000 anchors of 256 · 50 pairs: the mean of the random draws is steady
    assert bench.ours_contrastive().item() == pytest.approx(
        bench.plain_contrastive().item(), rel=0.05
    )


def test_a_run_goes_backward_and_clears_up():
    bench = LossBenchmark(random_inputs(3, 9, 4, 1, 4, CPU), bank_size=8)
    seen = []
    bench.inputs.rep.register_hook(lambda grad: seen.append(grad.abs().sum() > 0))
    bench.run('ours')
    bench.run('plain')
    assert seen == [True, True]
    assert bench.inputs.rep.grad is None


def test_the_bank_is_told_apart_from_what_the_loss_needs():
    result = measure_loss(
        3, size=17, stride=4, images=1, channels=4, bank_size=600, repeats=1,
        device=CPU,
    )  # fmt: skip
    assert result.bank == 3 * 600 * 4 * 2  # float16
    # (C, M, N, D) keys, float32
    assert result.ours_peak >= 3 * 256 * 50 * 4 * 4
    assert result.ratio == pytest.approx(sum(result.plain) / sum(result.ours))
