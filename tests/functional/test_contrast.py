"""Ranks, masks, class centers, InfoNCE and the two ways to draw."""

import math

import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_u2pl.functional import (
    anchor_mask,
    class_prototypes,
    class_ranks,
    info_nce,
    labeled_negative_mask,
    unlabeled_negative_mask,
)

SEEDS = st.integers(0, 10_000)


def column(*values):
    """One pixel's values as (1, C, 1, 1)."""
    return torch.tensor(values).view(1, -1, 1, 1)


def case(seed, batch=2, classes=4):
    """Probabilities with ties, labels with ignored pixels, unreliable pixels, representations."""
    rng = np.random.default_rng(seed)
    prob = rng.integers(1, 5, (batch, classes, 2, 3)).astype(float)
    prob /= prob.sum(1, keepdims=True)
    label = rng.choice([*range(classes), 255], (batch, 2, 3))
    return prob, label, rng.random((batch, 2, 3)) < 0.5, rng.normal(size=(batch, 5, 2, 3))


# -------------------------------------------------------------------------------- ranks
@pytest.mark.parametrize(
    ('prob', 'ranks'),
    [
        ((0.1, 0.7, 0.2), [2, 0, 1]),
        ((0.25, 0.5, 0.25), [1, 0, 2]),  # a tie goes to the smaller id
        ((0.25, 0.25, 0.25, 0.25), [0, 1, 2, 3]),
        ((1.0,), [0]),
    ],
)
def test_ranks_by_hand(prob, ranks):
    assert class_ranks(column(*prob)).flatten().tolist() == ranks


def test_ties_among_many_classes_go_to_the_smaller_id():
    ranks = class_ranks(torch.full((1, 1000, 5, 5), 1e-3))
    assert torch.equal(ranks, torch.arange(1000).view(1, -1, 1, 1).expand(1, 1000, 5, 5))


# -------------------------------------------------------------------------------- masks
def test_anchor_mask_by_hand():
    prob = column(0.6, 0.3, 0.1)
    for label, expected in (
        (0, [True, False, False]),
        (1, [False, False, False]),  # p = δ_p is not above it
        (2, [False, False, False]),
        (255, [False, False, False]),
    ):
        mask = anchor_mask(prob, torch.tensor([[[label]]]), 0.3)
        assert mask.flatten().tolist() == expected


def test_labeled_negatives_by_hand():
    # class 1 is most likely, then 2, 0, 3; the pixel is of class 1
    ranks = class_ranks(column(0.2, 0.4, 0.3, 0.1))
    mask = labeled_negative_mask(ranks, torch.tensor([[[1]]]), low_rank=3)
    assert mask.flatten().tolist() == [True, False, True, False]  # not its own, not rank 3
    assert not labeled_negative_mask(ranks, torch.tensor([[[255]]]), low_rank=3).any()


def test_unlabeled_negatives_by_hand():
    ranks = class_ranks(column(0.1, 0.4, 0.3, 0.2))  # 3, 0, 1, 2
    mask = unlabeled_negative_mask(ranks, torch.tensor([[[True]]]), 1, 3)
    assert mask.flatten().tolist() == [False, False, True, True]
    assert not unlabeled_negative_mask(ranks, torch.tensor([[[False]]]), 1, 3).any()


# -------------------------------------------------------------------------------- means
def test_prototypes_by_hand():
    rep = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])  # pixels (1, 0) and (3, 2)
    mask = torch.tensor([[[[True, True]], [[False, True]], [[False, False]]]])
    means, present = class_prototypes(rep, mask)
    assert means.tolist() == [[2, 1], [3, 2], [0, 0]]
    assert present.tolist() == [True, True, False]


@pytest.mark.parametrize('autocast', [False, True])
def test_prototypes_of_half_precision_features_do_not_overflow(autocast):
    # 100 000 pixels of value 10: their sum is beyond float16's 65 504
    rep = torch.full((1, 1, 250, 400), 10.0, dtype=torch.float16)
    with torch.autocast('cpu', dtype=torch.float16, enabled=autocast):
        means, _ = class_prototypes(rep, torch.ones(1, 1, 250, 400, dtype=torch.bool))
    torch.testing.assert_close(means, torch.tensor([[10.0]]))


# ------------------------------------------------------------------------------ InfoNCE
def normal():
    """Anchors (2, 3, 4), one positive each, negatives (2, 3, 5, 4)."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator) for s in ((2, 3, 4), (2, 1, 4), (2, 3, 5, 4))]


def test_info_nce_by_hand():
    # cosines: positive 1, negatives 0 and −1, whatever the lengths; τ = ½
    anchors = torch.tensor([[2.0, 0.0]])
    positives = torch.tensor([[3.0, 0.0]])
    negatives = torch.tensor([[[0.0, 5.0], [-4.0, 0.0]]])
    loss = info_nce(anchors, positives, negatives, 0.5)
    torch.testing.assert_close(loss, torch.tensor(math.log(1 + math.exp(-2) + math.exp(-4))))


@pytest.mark.parametrize(
    ('cosine', 'value'),
    [
        (-1.0, 0.650),  # perfect: ln(1 + 50 e^-4)
        (1.0, math.log(51)),  # chance: negatives as near as the positive, 3.93
    ],
)
def test_range_with_fifty_negatives(cosine, value):
    anchors = torch.tensor([[1.0, 0.0]])
    negatives = torch.tensor([cosine, 0.0]).expand(1, 50, 2)
    loss = info_nce(anchors, anchors, negatives, 0.5)
    torch.testing.assert_close(loss, torch.tensor(value), rtol=0, atol=1e-3)


@given(seed=SEEDS, num=st.integers(1, 4), shared=st.booleans(), tau=st.sampled_from([0.1, 0.5, 2]))
def test_info_nce_is_the_reference(seed, num, shared, tau):
    rng = np.random.default_rng(seed)
    anchors = rng.normal(size=(2, num, 3))
    positives = rng.normal(size=(2, 1 if shared else num, 3))
    negatives = rng.normal(size=(2, num, 5, 3))
    expected = [reference.info_nce(anchors[i], positives[i], negatives[i], tau) for i in range(2)]
    got = info_nce(torch.tensor(anchors), torch.tensor(positives), torch.tensor(negatives), tau)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_an_empty_bank_gives_finite_values_and_gradients():
    anchors = torch.randn(3, 4, requires_grad=True)
    loss = info_nce(anchors, torch.zeros(1, 4), torch.zeros(3, 5, 4), 0.5)
    torch.testing.assert_close(loss, torch.tensor(math.log(6)))  # all cosines 0
    loss.backward()
    torch.testing.assert_close(anchors.grad, torch.zeros(3, 4), rtol=0, atol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_info_nce_of_half_precision(dtype):
    anchors, positives, negatives = normal()
    loss = info_nce(anchors.to(dtype), positives.to(dtype), negatives.to(dtype), 0.5)
    exact = info_nce(anchors, positives, negatives, 0.5)
    torch.testing.assert_close(loss, exact, rtol=2e-2, atol=0)  # float32, both


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_info_nce_under_autocast(dtype):
    anchors, positives, negatives = normal()
    exact = info_nce(anchors, positives, negatives, 0.5)
    with torch.autocast('cpu', dtype=dtype):
        loss = info_nce(anchors, positives, negatives, 0.5)
    torch.testing.assert_close(loss, exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize('temperature', [0, -0.5])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=str(temperature)):
        info_nce(torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 1, 2), temperature)


def test_gradients():
    parts = [part.double().requires_grad_() for part in normal()]
    torch.autograd.gradcheck(lambda a, p, n: info_nce(a, p, n, 0.5), parts)
    prob, label, _, rep = map(torch.tensor, case(0))
    rep.requires_grad_()
    torch.autograd.gradcheck(lambda r: class_prototypes(r, anchor_mask(prob, label, 0.2))[0], rep)
