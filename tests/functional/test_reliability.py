"""Entropy, percentile and the loss on reliable pseudo-labels."""

import math

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mmseg_u2pl.functional import (
    class_percentile_thresholds,
    entropy_map,
    entropy_of_logits,
    hard_labels,
    maps,
    nearest,
    percentile_threshold,
    pseudo_label_loss,
    reliable_loss,
    unsupervised_loss,
)

LN2 = math.log(2)
SEEDS = st.integers(0, 10_000)


def case(seed, batch, classes, height=3, width=4):
    """Logits, labels with ~20 % ignored, and entropies with many ties."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (batch, classes, height, width))
    target = rng.integers(0, classes, (batch, height, width))
    target[rng.random(target.shape) < 0.2] = 255
    entropy = rng.random(target.shape).round(1)
    return torch.tensor(logits), torch.tensor(target), torch.tensor(entropy)


# ------------------------------------------------------------------------------ labels
def test_labels_by_hand():
    # enlarged: 0, 1, 3, 4 and twice 2, 1¾, 1¼, 1
    logits = torch.tensor([[[[0.0, 4.0]], [[2.0, 1.0]], [[2.0, 1.0]]]])
    labels = hard_labels(logits, (2, 4), align_corners=False)
    assert labels.tolist() == [[[1, 1, 0, 0]] * 2]  # classes 1 and 2 are equal: the first


@given(seed=SEEDS, classes=st.integers(2, 6), align_corners=st.booleans())
def test_labels_are_the_arg_max_of_enlarged_logits(seed, classes, align_corners):
    logits = case(seed, 2, classes)[0]
    size = (13, 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(maps.ELEMENTS, 'cpu', 100)  # a row or two at a time
        labels = hard_labels(logits, size, align_corners)
    enlarged = F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)
    torch.testing.assert_close(labels, enlarged.argmax(1), rtol=0, atol=0)


def test_nearest_sampling_is_torchs():
    maps = torch.randint(0, 255, (2, 33, 47))
    for size in ((9, 12), (33, 47), (16, 24), (40, 50)):
        expected = F.interpolate(maps[None].float(), size, mode='nearest')[0].long()
        assert torch.equal(nearest(maps, torch.Size(size)), expected)


# ------------------------------------------------------------------------------ entropy
@pytest.mark.parametrize(
    ('prob', 'value'),
    [
        ([0.5, 0.5], LN2),
        ([1.0, 0.0], 0.0),  # p = 0 contributes 0, not NaN
        ([1.0], 0.0),
        ([0.25] * 4, math.log(4)),
        ([0.5, 0.25, 0.25], 1.5 * LN2),  # .5 ln 2 + 2 · .25 ln 4
    ],
)
def test_entropy_by_hand(prob, value):
    entropy = entropy_map(torch.tensor(prob).view(1, -1, 1, 1))
    torch.testing.assert_close(entropy, torch.full((1, 1, 1), value))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_entropy_of_half_precision_is_computed_in_single(dtype):
    prob = torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1).to(dtype)
    entropy = entropy_map(prob)
    torch.testing.assert_close(entropy, entropy_map(prob.float()), rtol=0, atol=0)
    assert entropy.dtype == torch.float32


def test_entropy_over_another_dimension():
    prob = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    torch.testing.assert_close(entropy_map(prob, dim=-1), torch.tensor([LN2, 0.0]))


def test_entropy_of_extreme_logits():
    logits = torch.tensor([[1e30, -1e30, 0.0], [1e30, 1e30, -1e30]])
    torch.testing.assert_close(entropy_of_logits(logits), torch.tensor([0.0, LN2]))


# --------------------------------------------------------------------------- percentile
@pytest.mark.parametrize(
    ('percent', 'value'),
    [
        (0, 1.0),
        (100, 5.0),
        (50, 2.5),  # position 3 · 0.5 = 1.5 between 2 and 3
        (80, 3.8),  # position 3 · 0.8 = 2.4 between 3 and 5: 3 + 0.4 · 2
    ],
)
def test_percentile_by_hand(percent, value):
    values = torch.tensor([[3.0, 1.0], [5.0, 2.0]])
    torch.testing.assert_close(percentile_threshold(values, percent), torch.tensor(value))


def test_percentile_of_two_million_values_finds_the_right_place():
    values = torch.arange(2_000_001, dtype=torch.float64).flip(0)
    # a position in float32 would be 1753086.375
    assert percentile_threshold(values, 87.65432).item() == pytest.approx(1_753_086.4, abs=1e-3)


@pytest.mark.parametrize('values', [torch.ones(3), torch.ones(0)])
def test_percentile_of_nothing_is_infinite(values):
    assert percentile_threshold(values, 50, torch.zeros_like(values, dtype=torch.bool)) == math.inf


def test_percentiles_of_classes_by_hand():
    values = torch.tensor([0.0, 1.0, 2.0, 10.0, 20.0, 7.0])
    label = torch.tensor([0, 0, 0, 3, 3, 255])
    thresholds = class_percentile_thresholds(values, label, 75, num_classes=4)
    assert thresholds.tolist() == [1.5, math.inf, math.inf, 17.5]


@given(seed=SEEDS, classes=st.integers(1, 5), size=st.integers(0, 60), percent=st.floats(0, 100))
def test_percentiles_of_classes_are_numpys(seed, classes, size, percent):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(size, generator=generator).mul(8).round().div(8)  # with ties
    label = torch.randint(0, classes + 1, (size,), generator=generator)
    label[label == classes] = 255
    thresholds = class_percentile_thresholds(values, label, percent, classes)
    for c, threshold in enumerate(thresholds.tolist()):
        own = values[label == c].numpy()
        expected = np.percentile(own, percent) if own.size else math.inf
        assert threshold == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('percent', [-1, 100.5])
def test_percentile_outside_its_range(percent):
    tiny.assert_raises(
        ValueError,
        lambda: class_percentile_thresholds(torch.ones(2), torch.zeros(2).long(), percent, 2),
        str(percent),
    )
    with pytest.raises(ValueError, match=str(percent)):
        percentile_threshold(torch.ones(3), percent)


# ---------------------------------------------------------------------------- the losses
# two classes, one row of four pixels; logits (a, 0): CE of class 0 is ln(1 + e^-a)
LOGITS = torch.tensor([[[[0.0, math.log(3), 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]]])
TARGET = torch.tensor([[[0, 0, 1, 255]]])
ENTROPY = torch.tensor([[[0.1, 0.2, 0.3, 0.0]]])


def test_unsupervised_loss_by_hand():
    # valid entropies .1 .2 .3; the 75th percentile is .25: pixels 0 and 1 are reliable.
    # CE: ln 2 and ln(4/3); mean ½ ln(8/3); λ_u = 4 pixels / 2 kept
    loss = unsupervised_loss(LOGITS, TARGET, ENTROPY, 75)
    torch.testing.assert_close(loss, torch.tensor(math.log(8 / 3)))


def test_ties_with_the_threshold_are_unreliable():
    # the 50th percentile is .2 itself: only pixel 0 stays; ln 2 · 4/1
    loss = unsupervised_loss(LOGITS, TARGET, ENTROPY, 50)
    torch.testing.assert_close(loss, torch.tensor(4 * LN2))


@pytest.mark.parametrize('reason', ['all ignored', 'all tied', 'zeroth percentile'])
def test_nothing_kept_is_exactly_zero(reason):
    target = torch.full_like(TARGET, 255) if reason == 'all ignored' else TARGET
    entropy = torch.ones_like(ENTROPY) if reason == 'all tied' else ENTROPY
    logits = LOGITS.clone().requires_grad_()
    loss = unsupervised_loss(logits, target, entropy, 0 if reason == 'zeroth percentile' else 90)
    loss.backward()
    assert loss.item() == 0
    torch.testing.assert_close(logits.grad, torch.zeros_like(LOGITS), rtol=0, atol=0)


def test_inputs_are_not_modified():
    logits, target, entropy = LOGITS.clone(), TARGET.clone(), ENTROPY.clone()
    unsupervised_loss(logits, target, entropy, 50)
    reliable_loss(logits, target, reverse_weight=0.1)
    assert torch.equal(logits, LOGITS)
    assert torch.equal(target, TARGET)
    assert torch.equal(entropy, ENTROPY)


def test_pseudo_label_loss_is_a_sum_and_a_number():
    # CE of class 0 is ln 2 and ln(4/3), of class 1 ln 2; the fourth pixel is not kept
    loss, count = pseudo_label_loss(LOGITS, TARGET)
    torch.testing.assert_close(loss, torch.tensor(2 * LN2 + math.log(4 / 3)))
    assert count == 3


def test_reverse_cross_entropy_by_hand():
    # pixel 0 alone: p = ½ ½; −½ ln 1e-4 = 4.605 times weight 0.1, all times λ_u = 4
    target = torch.tensor([[[0, 255, 255, 255]]])
    loss, weight = reliable_loss(LOGITS, target, reverse_weight=0.1)
    torch.testing.assert_close(loss, torch.tensor(4 * (LN2 + 0.1 * 0.5 * 4 * math.log(10))))
    assert weight == 4


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_gives_a_float32_loss_near_the_exact_one(dtype):
    logits, target, entropy = case(0, 2, 4)
    exact = unsupervised_loss(logits, target, entropy, 70).float()
    loss = unsupervised_loss(logits.to(dtype), target, entropy.float(), 70)
    torch.testing.assert_close(loss, exact, rtol=1e-2, atol=0)


def test_large_half_precision_logits_do_not_overflow():
    logits = torch.full((1, 2, 300, 300), 6e4, dtype=torch.float16)
    target = torch.zeros(1, 300, 300, dtype=torch.long)
    loss, _ = reliable_loss(logits, target)
    torch.testing.assert_close(loss, torch.tensor(LN2))


@pytest.mark.parametrize('reverse', [0.0, 0.1])
def test_gradients(reverse):
    logits, target, entropy = case(3, 2, 3, 2, 2)
    logits.requires_grad_()
    torch.autograd.gradcheck(
        lambda x: reliable_loss(x, target, reverse_weight=reverse)[0], (logits,)
    )
    torch.autograd.gradcheck(lambda x: unsupervised_loss(x, target, entropy, 60), (logits,))


@pytest.mark.parametrize('corners', [False, True])
@pytest.mark.parametrize('reverse', [0.0, 0.1])
def test_small_logits_are_enlarged_band_by_band(corners, reverse, monkeypatch):
    """Value, weight and gradient of the loss on a full-size map that is never made."""
    monkeypatch.setitem(maps.ELEMENTS, 'cpu', 100)
    _, target, _ = case(0, 2, 3, height=13, width=9)
    small = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    large = F.interpolate(small, (13, 9), mode='bilinear', align_corners=corners)
    expected, expected_weight = reliable_loss(large, target, reverse_weight=reverse)
    loss, weight = reliable_loss(small, target, 255, reverse, corners)
    torch.testing.assert_close(loss, expected)
    assert weight == expected_weight
    gradients = [torch.autograd.grad(3 * own, small)[0] for own in (loss, expected)]
    torch.testing.assert_close(*gradients)


def test_small_logits_without_a_kept_label():
    small = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss, weight = reliable_loss(small, torch.full((1, 12, 12), 255))
    loss.backward()
    assert loss.item() == weight.item() == 0
    torch.testing.assert_close(small.grad, torch.zeros_like(small), rtol=0, atol=0)
