"""Formulas against the slow reference: any shape, precision, number of classes and share of ignored pixels."""

from typing import NamedTuple

import numpy as np
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmseg_u2pl.functional import (
    anchor_mask,
    class_prototypes,
    class_ranks,
    entropy_map,
    entropy_of_logits,
    labeled_negative_mask,
    percentile_threshold,
    pseudo_label_loss,
    reliable_loss,
    unlabeled_negative_mask,
    unsupervised_loss,
)

TOLERANCES = {
    torch.float16: 1e-3, torch.bfloat16: 1e-3, torch.float32: 2e-5, torch.float64: 1e-9
}  # fmt: skip
WEIGHTED = 1e-6  # at least: the weight of a loss is a float32


class Case(NamedTuple):
    """Maps that hold the numbers of a low precision, in that and in double precision for the reference."""

    logits: Tensor
    target: Tensor
    entropy: Tensor
    ignore: int

    @property
    def labels(self):
        """With the reference's 255 where a pixel is ignored."""
        return np.where(self.target.numpy() == self.ignore, 255, self.target.numpy())

    @property
    def prob(self):
        return self.logits.double().softmax(1)

    def close(self, value, expected, tolerance=0.0):
        tolerance = max(tolerance, TOLERANCES[self.logits.dtype])
        expected = torch.as_tensor(np.array(expected), dtype=torch.float64)
        torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)


@st.composite
def cases(draw):
    batch, classes = draw(st.integers(1, 3)), draw(st.integers(1, 7))
    size = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(list(TOLERANCES)))
    scales = [0.0, 0.1, 2.0, 12.0, *[300.0] * (dtype == torch.float64)]
    scale = draw(st.sampled_from(scales))  # 0: all classes are equally likely
    ignore = draw(st.sampled_from([255, 254, -1, -100]))
    target = rng.integers(0, classes, (batch, *size))
    target[rng.random(target.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = ignore
    logits = torch.tensor(rng.normal(0, 1, (batch, classes, *size)) * scale)
    logits = logits.round() if draw(st.booleans()) else logits  # some classes are equally likely
    entropy = torch.tensor(rng.random(target.shape).round(draw(st.integers(0, 3))))
    return Case(logits.to(dtype), torch.tensor(target), entropy.to(dtype), ignore)


@given(cases())
def test_entropy(case):
    expected = reference.entropy(case.prob.numpy())
    case.close(entropy_of_logits(case.logits), expected)
    case.close(entropy_map(case.prob), expected)


@given(cases(), st.floats(0, 100))
def test_percentile(case, percent):
    valid = case.target != case.ignore
    expected = reference.threshold(case.entropy.double().numpy(), percent, valid.numpy())
    case.close(percentile_threshold(case.entropy, percent, valid), expected)


@given(cases(), st.sampled_from([0.0, 0.1, 1.0]))
def test_loss_of_kept_labels(case, reverse):
    loss, weight = reliable_loss(case.logits, case.target, case.ignore, reverse)
    expected = reference.reliable_loss(case.logits.double().numpy(), case.labels, reverse)
    case.close(loss, expected[0], WEIGHTED)
    case.close(weight, expected[1], WEIGHTED)
    total, count = pseudo_label_loss(case.logits, case.target, case.ignore, reverse)
    assert count == (case.labels != 255).sum()
    case.close(weight * total / max(1, int(count)), expected[0], WEIGHTED)


@given(cases(), st.integers(0, 100))
def test_loss_of_reliable_labels(case, percent):
    """Entropies are exact in half precision here, as a threshold between equal ones decides."""
    entropy = (case.entropy.double() * 8).round() / 8
    loss = unsupervised_loss(
        case.logits, case.target, entropy.to(case.logits.dtype), percent, case.ignore
    )
    keep = reference.reliable_places(case.labels, entropy.numpy(), percent)
    threshold = reference.threshold(entropy.numpy(), percent, case.labels != 255)
    if any(abs(entropy.numpy()[p] - threshold) < 1e-6 for p in keep):
        return  # interpolation ends a rounding error above a value
    logits = case.logits.double().numpy()
    expected = reference.unsupervised_loss(logits, case.labels, entropy.numpy(), percent)
    case.close(loss, expected, WEIGHTED)


@given(cases(), st.integers(0, 7), st.integers(0, 7), st.sampled_from([0.0, 0.2, 0.5, 0.99]))
def test_ranks_and_masks(case, low, high, delta_p):
    prob, label = case.prob, case.target
    rank = class_ranks(prob)
    expected = reference.ranks(prob.numpy())
    assert np.array_equal(rank.numpy(), expected)
    anchors = anchor_mask(prob, label, delta_p, case.ignore)
    assert np.array_equal(anchors, reference.anchors(prob.numpy(), case.labels, delta_p))
    negatives = labeled_negative_mask(rank, label, low, case.ignore)
    assert np.array_equal(negatives, reference.labeled_negatives(expected, case.labels, low))
    unreliable = case.entropy > 0.5
    negatives = unlabeled_negative_mask(rank, unreliable, low, high)
    slow = reference.unlabeled_negatives(expected, unreliable.numpy(), low, high)
    assert np.array_equal(negatives, slow)


@given(cases(), st.integers(1, 5))
def test_prototypes(case, channels):
    generator = torch.Generator().manual_seed(channels)
    rep = torch.randn(len(case.target), channels, *case.target.shape[1:], generator=generator)
    mask = anchor_mask(case.prob, case.target, 0.1, case.ignore)
    centers, present = class_prototypes(rep.to(case.logits.dtype), mask)
    expected = reference.prototypes(rep.to(case.logits.dtype).double().numpy(), mask.numpy())
    assert torch.where(present)[0].tolist() == sorted(expected)
    for label in range(mask.shape[1]):
        case.close(centers[label], expected.get(label, np.zeros(channels)))
