"""Which pseudo-labels are believed: by hand, by numpy, and at the boundary."""

import math

import numpy as np
import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_u2pl.models import ConfidenceThreshold, EntropyPercentile

SEEDS = st.integers(0, 10_000)


def case(seed, classes=4):
    """A measure with ties, and labels with padding (2, 3, 5)."""
    rng = np.random.default_rng(seed)
    label = rng.choice([*range(classes), 255], (2, 3, 5))
    return torch.tensor(rng.random(label.shape).round(1)), torch.tensor(label)


# ------------------------------------------------------------------------------ entropy
@given(seed=SEEDS, percent=st.floats(0, 100), progress=st.floats(0, 1.2), anneal=st.booleans())
def test_the_percentile_of_all_pixels_is_numpys(seed, percent, progress, anneal):
    entropy, label = case(seed)
    selection = EntropyPercentile(percent, anneal=anneal)
    unreliable, threshold = selection(entropy, label, progress)
    valid = label.numpy() != 255
    alpha = percent * (1 - min(progress, 1.0)) if anneal else percent
    expected = np.percentile(entropy.numpy()[valid], 100 - alpha) if valid.any() else math.inf
    assert threshold.item() == pytest.approx(expected, rel=1e-9)
    # away from the threshold, where rounding does not matter
    apart = np.abs(entropy.numpy() - expected) > 1e-9
    np.testing.assert_array_equal(
        unreliable.numpy()[apart], (valid & (entropy.numpy() >= expected))[apart]
    )


def test_the_same_percent_of_each_class_by_hand():
    label = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 255]]])
    entropy = torch.tensor([[[0.1, 0.2, 0.3, 0.4], [0.9, 0.8, 0.7, 0.0]]])
    # α has fallen to 25; the upper quartiles: class 0 .325, class 1 .85
    unreliable, threshold = EntropyPercentile(50, per_class=True)(entropy, label, 0.5)
    assert unreliable.tolist() == [[[False, False, False, True], [True, False, False, False]]]
    assert threshold == pytest.approx((0.325 + 0.85) / 2)


@pytest.mark.parametrize(
    ('anneal', 'counts'), [(True, (2, 1, 1)), (False, (2, 2, 2))], ids=['annealed', 'constant']
)
def test_the_share_falls_to_the_largest_value_or_stays(anneal, counts):
    label, entropy = torch.zeros(1, 1, 4).long(), torch.tensor([[[0.1, 0.2, 0.3, 0.4]]])
    selection = EntropyPercentile(50, anneal=anneal)
    found = [selection(entropy, label, t)[0].sum().item() for t in (0.0, 0.5, 1.0)]
    assert found == list(counts)  # ties with the threshold are unreliable: the maximum at α = 0


@pytest.mark.parametrize('per_class', [False, True])
def test_nothing_but_padding_has_no_unreliable_pixel(per_class):
    label = torch.full((1, 2, 2), 255)
    unreliable, threshold = EntropyPercentile(per_class=per_class)(torch.rand(1, 2, 2), label, 0.0)
    assert not unreliable.any()
    assert not threshold.isnan()


def test_the_measure_is_the_entropy_of_the_softmax():
    logits = 3 * torch.randn(2, 4, 3, 5)
    measured = EntropyPercentile().measure(logits)
    expected = reference.entropy(logits.softmax(1).double().numpy())
    np.testing.assert_allclose(measured, expected, atol=1e-5)


# --------------------------------------------------------------------------- confidence
def test_a_pixel_at_the_threshold_is_kept():
    q = torch.tensor([[[0.94, 0.95, 0.96, 0.1]]])
    label = torch.tensor([[[0, 1, 2, 255]]])
    unreliable, threshold = ConfidenceThreshold(0.95)(q, label, 0.5)
    assert unreliable.tolist() == [[[True, False, False, False]]]  # padding is not unreliable
    assert threshold.item() == pytest.approx(0.95)
    # exactly representable: q of equal logits of two classes is ½
    selection = ConfidenceThreshold(0.5)
    measured = selection.measure(torch.zeros(1, 2, 1, 1))
    assert measured.item() == 0.5
    assert not selection(measured, torch.zeros(1, 1, 1).long(), 0.0)[0].any()


@pytest.mark.parametrize(('threshold', 'share'), [(0.0, 0.0), (1.0, 1.0)])
def test_thresholds_that_keep_all_and_nothing(threshold, share):
    selection = ConfidenceThreshold(threshold)
    measured = selection.measure(torch.randn(1, 3, 4, 4))
    unreliable, _ = selection(measured, torch.zeros(1, 4, 4).long(), 0.0)
    assert unreliable.float().mean() == share


@given(seed=SEEDS)
def test_the_measure_is_the_largest_probability(seed):
    logits = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed)) * 4
    measured = ConfidenceThreshold().measure(logits)
    torch.testing.assert_close(measured, logits.softmax(1).amax(1))
    half = ConfidenceThreshold().measure(logits.half())
    assert half.dtype == torch.float32


@pytest.mark.parametrize('progress', [0.0, 1.0])
def test_the_threshold_stays_the_same_throughout(progress):
    _, threshold = ConfidenceThreshold(0.8)(torch.rand(1, 2, 2), torch.zeros(1, 2, 2), progress)
    assert threshold.item() == pytest.approx(0.8)


def test_settings_outside_their_range_are_named():
    for percent in (-1, 120):
        tiny.assert_raises(ValueError, lambda p=percent: EntropyPercentile(p), 'percent', percent)
    for value in (-0.1, 1.5):
        tiny.assert_raises(ValueError, lambda v=value: ConfidenceThreshold(v), 'threshold', value)
