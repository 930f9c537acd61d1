"""Ranks, masks, class centres, InfoNCE and the two ways to draw."""

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
    draw_with_replacement,
    draw_without_replacement,
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


@given(seed=SEEDS, batch=st.integers(1, 3), classes=st.integers(1, 6))
def test_ranks_and_masks_are_the_references(seed, batch, classes):
    prob, label, unreliable, _ = case(seed, batch, classes)
    p, y, u = torch.tensor(prob), torch.tensor(label), torch.tensor(unreliable)
    rank = reference.ranks(prob)
    for got, expected in (
        (class_ranks(p), rank),
        (anchor_mask(p, y, 0.3), reference.anchors(prob, label, 0.3)),
        (labeled_negative_mask(class_ranks(p), y, 2), reference.labeled_negatives(rank, label, 2)),
        (
            unlabeled_negative_mask(class_ranks(p), u, 1, 3),
            reference.unlabeled_negatives(rank, unreliable, 1, 3),
        ),
    ):
        np.testing.assert_array_equal(got, expected)


# -------------------------------------------------------------------------------- means
def test_prototypes_by_hand():
    rep = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])  # pixels (1, 0) and (3, 2)
    mask = torch.tensor([[[[True, True]], [[False, True]], [[False, False]]]])
    means, present = class_prototypes(rep, mask)
    assert means.tolist() == [[2, 1], [3, 2], [0, 0]]
    assert present.tolist() == [True, True, False]


@given(seed=SEEDS)
def test_prototypes_are_the_references(seed):
    prob, label, _, rep = case(seed)
    mask = reference.anchors(prob, label, 0.2)
    expected = reference.prototypes(rep, mask)
    means, present = class_prototypes(torch.tensor(rep), torch.tensor(mask))
    assert {c for c in range(4) if present[c]} == set(expected)
    for c in range(4):
        np.testing.assert_allclose(means[c], expected.get(c, np.zeros(5)), atol=1e-12)


@pytest.mark.parametrize('autocast', [False, True])
def test_prototypes_of_half_precision_features_do_not_overflow(autocast):
    # 100 000 pixels of value 10: their sum is beyond float16's 65 504
    rep = torch.full((1, 1, 250, 400), 10.0, dtype=torch.float16)
    with torch.autocast('cpu', dtype=torch.float16, enabled=autocast):
        means, _ = class_prototypes(rep, torch.ones(1, 1, 250, 400, dtype=torch.bool))
    torch.testing.assert_close(means, torch.tensor([[10.0]]))


# ------------------------------------------------------------------------------ InfoNCE
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
    expected = [reference.info_nce(*one, tau) for one in zip(anchors, positives, negatives)]
    got = info_nce(*map(torch.tensor, (anchors, positives, negatives)), tau)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_an_empty_bank_gives_finite_values_and_gradients():
    anchors = torch.randn(3, 4, requires_grad=True)
    loss = info_nce(anchors, torch.zeros(1, 4), torch.zeros(3, 5, 4), 0.5)
    torch.testing.assert_close(loss, torch.tensor(math.log(6)))  # all cosines 0
    loss.backward()
    assert torch.equal(anchors.grad, torch.zeros(3, 4))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_info_nce_of_half_precision(dtype):
    parts = [torch.randn(shape) for shape in ((2, 6, 8), (2, 1, 8), (2, 6, 9, 8))]
    loss = info_nce(*(part.to(dtype) for part in parts), 0.5)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, info_nce(*parts, 0.5), rtol=2e-2, atol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_info_nce_under_autocast(dtype):
    parts = [torch.randn(shape) for shape in ((2, 6, 8), (2, 1, 8), (2, 6, 9, 8))]
    with torch.autocast('cpu', dtype=dtype):
        loss = info_nce(*parts, 0.5)
    torch.testing.assert_close(loss, info_nce(*parts, 0.5), rtol=1e-3, atol=0)


@pytest.mark.parametrize('temperature', [0, -0.5])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=str(temperature)):
        info_nce(torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 1, 2), temperature)


def test_gradients():
    torch.manual_seed(0)
    parts = [
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 3, 4), (2, 1, 4), (2, 3, 5, 4))
    ]
    torch.autograd.gradcheck(lambda *tensors: info_nce(*tensors, 0.5), parts)
    prob, label, _, rep = map(torch.tensor, case(0))
    rep.requires_grad_()
    torch.autograd.gradcheck(lambda r: class_prototypes(r, anchor_mask(prob, label, 0.2))[0], rep)


# ------------------------------------------------------------------------------ drawing
def mask_of(*places, size=12):
    mask = torch.zeros(1, size, dtype=torch.bool)
    mask[0, list(places)] = True
    return mask


def test_drawing_with_replacement_is_uniform_over_the_true_places():
    torch.manual_seed(0)
    drawn = draw_with_replacement(mask_of(0, 3, 4, 11), 8000)[0]
    places, counts = drawn.unique(return_counts=True)
    assert places.tolist() == [0, 3, 4, 11]
    assert ((counts - 2000) ** 2 / 2000).sum() < 16.3  # chi-square, 3 degrees, p = 0.001


def test_drawing_without_replacement_gives_each_place_the_same_chance():
    torch.manual_seed(0)
    mask = mask_of(1, 2, 5, 7, 10).expand(6000, -1)
    drawn, count = draw_without_replacement(mask, 2)
    assert (count == 2).all()
    assert (drawn[:, 0] != drawn[:, 1]).all()
    places, counts = drawn.unique(return_counts=True)
    assert places.tolist() == [1, 2, 5, 7, 10]
    assert ((counts - 2400) ** 2 / 2400).sum() < 18.5  # 4 degrees, p = 0.001


@given(seed=SEEDS, size=st.integers(1, 40), num=st.integers(1, 50), share=st.floats(0, 1))
def test_draws_are_true_places_and_distinct(seed, size, num, share):
    torch.manual_seed(seed)
    mask = torch.rand(3, size) < share
    drawn, count = draw_without_replacement(mask, num)
    repeated = draw_with_replacement(mask, num)
    for row in range(3):
        assert count[row] == min(int(mask[row].sum()), num)
        chosen = drawn[row, : count[row]]
        assert mask[row][chosen].all()
        assert len(chosen.unique()) == len(chosen)
        if mask[row].any():
            assert mask[row][repeated[row]].all()


def test_few_enough_places_are_all_drawn_in_order():
    drawn, count = draw_without_replacement(mask_of(2, 9, 4), 3)
    assert drawn.tolist() == [[2, 4, 9]]
    assert count.tolist() == [3]


def test_two_million_places_stay_distinct():
    torch.manual_seed(0)
    mask = torch.ones(1, 2_000_001, dtype=torch.bool)
    drawn, _ = draw_without_replacement(mask, 1_999_999)
    assert len(drawn.unique()) == 1_999_999
