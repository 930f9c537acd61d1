"""Votes, shares and losses of regions, and CutMix of pairs."""

import math

import numpy as np
import pytest
import torch
from cross import slow_cross_entropy, slow_share, slow_vote
from hypothesis import given
from hypothesis import strategies as st

from mmseg_u2pl.functional import (
    cutmix_pair_masks,
    feature_matching,
    masked_cross_entropy,
    mix_pairs,
    mixing,
    region_share,
    region_vote,
)

SEEDS = st.integers(0, 10_000)


# ------------------------------------------------------------------------------------- votes
def test_vote_by_hand():
    scores = torch.tensor([[[[0.9, 0.6], [0.1, 0.61]]]])
    votes = region_vote(scores, (4, 6), 0.6)
    assert votes.dtype == torch.float32
    assert votes.tolist() == [
        [
            [1, 1, 1, 0, 0, 0],  # 0.6 is not greater than 0.6
            [1, 1, 1, 0, 0, 0],
            [0, 0, 0, 1, 1, 1],
            [0, 0, 0, 1, 1, 1],
        ]
    ]


@given(seed=SEEDS, rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_vote_is_the_reference(seed, rows, columns):
    rng = np.random.default_rng(seed)
    scores = rng.random((2, 1, rows, columns)).astype(np.float32)
    size = (rows * int(rng.integers(1, 5)), columns * int(rng.integers(1, 5)))
    votes = region_vote(torch.tensor(scores), size, 0.5)
    np.testing.assert_array_equal(votes, slow_vote(scores, size, 0.5))


@pytest.mark.parametrize(('size', 'regions'), [((321, 321), 2), ((512, 512), 3), ((5, 7), 3)])
def test_vote_of_sizes_that_regions_do_not_divide(size, regions):
    scores = torch.rand(1, 1, regions, regions)
    votes = region_vote(scores, size, 0.5)
    np.testing.assert_array_equal(votes, slow_vote(scores.numpy(), size, 0.5))


def test_one_region_is_the_selection_of_whole_images():
    votes = region_vote(torch.tensor([0.7, 0.5]).view(2, 1, 1, 1), (3, 4), 0.6)
    assert votes[0].eq(1).all()
    assert votes[1].eq(0).all()


@pytest.mark.parametrize('threshold', [1.0, 1.5])
def test_no_score_exceeds_a_threshold_of_one(threshold):
    assert region_vote(torch.ones(2, 1, 3, 3), (6, 6), threshold).sum() == 0


def test_no_gradient_flows_through_votes():
    scores = torch.rand(1, 1, 2, 2, requires_grad=True)
    assert not region_vote(scores, (4, 4), 0.5).requires_grad


@pytest.mark.parametrize('shape', [(2, 3, 3), (2, 2, 3, 3)])
def test_scores_must_be_one_map_an_image(shape):
    with pytest.raises(ValueError, match=r'scores must be \(B, 1, R, R\), got \(2, '):
        region_vote(torch.zeros(shape), (6, 6), 0.5)


# ------------------------------------------------------------------------------------- losses
def case(seed, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(0, 2, (2, 3, 4, 5)), dtype=dtype)
    target = torch.tensor(rng.integers(0, 3, (2, 4, 5)))
    target[torch.tensor(rng.random(target.shape) < 0.2)] = 255
    return logits, target, torch.tensor(rng.random(target.shape), dtype=dtype)


def test_masked_cross_entropy_by_hand():
    # p of the target: 1/2, 1/4; the third pixel has no label, the fourth no weight
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)], [5.0, 0.0], [5.0, 0.0]]).T
    target = torch.tensor([0, 0, 255, 1])
    weight = torch.tensor([1.0, 2.0, 7.0, 0.0])
    loss = masked_cross_entropy(
        logits.reshape(1, 2, 1, 4), target.view(1, 1, 4), weight.view(1, 1, 4)
    )
    torch.testing.assert_close(loss, torch.tensor((math.log(2) + 2 * math.log(4)) / 3))


@given(seed=SEEDS)
def test_masked_cross_entropy_is_the_reference(seed):
    logits, target, weight = case(seed)
    loss = masked_cross_entropy(logits, target, weight)
    expected = slow_cross_entropy(logits.numpy(), target.numpy(), weight.numpy())
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_the_ignored_label_is_a_choice():
    logits, target, weight = case(0)
    moved = target.masked_fill(target == 255, -1)
    torch.testing.assert_close(
        masked_cross_entropy(logits, moved, weight, ignore_index=-1),
        masked_cross_entropy(logits, target, weight),
    )


@pytest.mark.parametrize('empty', ['weight', 'target'])
def test_nothing_selected_is_exactly_zero_with_a_graph(empty):
    logits, target, weight = case(1)
    logits.requires_grad_()
    if empty == 'weight':
        weight = torch.zeros_like(weight)
    else:
        target = torch.full_like(target, 255)
    loss = masked_cross_entropy(logits, target, weight)
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.eq(0).all()


def test_what_an_ignored_pixel_weighs_does_not_matter():
    logits, target, weight = case(2)
    other = weight.masked_fill(target == 255, math.nan)
    assert masked_cross_entropy(logits, target, other) == masked_cross_entropy(
        logits, target, weight
    )


def test_gradient_of_masked_cross_entropy():
    logits, target, weight = case(3)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: masked_cross_entropy(x, target, weight), logits)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    logits, target, weight = case(4, dtype)
    loss = masked_cross_entropy(logits, target, weight)
    expected = masked_cross_entropy(logits.float(), target, weight.float())
    assert loss.dtype == torch.float32
    assert loss == expected


def test_a_boolean_weight_selects():
    logits, target, weight = case(5)
    chosen = weight > 0.5
    assert masked_cross_entropy(logits, target, chosen) == masked_cross_entropy(
        logits, target, chosen.double()
    )


def test_inputs_stay_as_they_are():
    inputs = case(6)
    copies = [value.clone() for value in inputs]
    masked_cross_entropy(*inputs)
    region_vote(inputs[2][:, None], (8, 10), 0.5)
    assert all(torch.equal(a, b) for a, b in zip(inputs, copies, strict=True))


def test_feature_matching_by_hand():
    real = torch.tensor([[1.0, 0.0], [3.0, 0.0]], requires_grad=True)  # mean (2, 0)
    fake = torch.tensor([[1.0, 5.0]], requires_grad=True)
    loss = feature_matching(real, fake)
    assert loss.item() == 3.0  # (|2 − 1| + |0 − 5|) / 2
    loss.backward()
    assert real.grad is None
    assert fake.grad is not None
    assert fake.grad.tolist() == [[-0.5, 0.5]]


# ------------------------------------------------------------------------------------- shares
def test_share_by_hand():
    hit = torch.tensor([[[1, 0, 1, 1], [0, 0, 1, 1]]]).bool()
    valid = torch.tensor([[[1, 1, 1, 1], [1, 0, 0, 1]]]).bool()
    share, count = region_share(hit, valid, (1, 2))
    torch.testing.assert_close(share, torch.tensor([[[[1 / 3, 1.0]]]]))
    assert count.tolist() == [[[[3, 3]]]]


def test_shares_are_counted_in_single_precision():
    hit = torch.ones(1, 300, 300, dtype=torch.bool)
    with torch.autocast('cpu', torch.bfloat16):
        share, count = region_share(hit, hit, (1, 1))
    assert (share.dtype, count.item()) == (torch.float32, 90_000)  # float16 ends at 65504


def test_a_region_without_valid_pixels_has_share_zero():
    hit = torch.ones(1, 4, 4, dtype=torch.bool)
    valid = torch.zeros_like(hit)
    share, count = region_share(hit, valid, (2, 2))
    assert share.eq(0).all()
    assert count.eq(0).all()


@given(seed=SEEDS, rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_share_is_the_reference(seed, rows, columns):
    rng = np.random.default_rng(seed)
    hit, valid = rng.random((2, 2, 8, 12)) < 0.5
    share, count = region_share(torch.tensor(hit), torch.tensor(valid), (rows, columns))
    slow = slow_share(hit, valid, (rows, columns))
    np.testing.assert_allclose(share, slow[0], rtol=1e-6)
    np.testing.assert_array_equal(count, slow[1])


# ------------------------------------------------------------------------------------- CutMix
def test_mix_of_pairs_by_hand():
    masks = torch.tensor([[[True, False]], [[False, False]]])
    maps = torch.tensor([[[1, 1]], [[2, 2]], [[3, 3]], [[4, 4]]])  # u_0: 1, 2; u_1: 3, 4
    assert mix_pairs(masks, maps).tolist() == [[[3, 1]], [[2, 2]]]
    images = maps[:, None].repeat(1, 3, 1, 1)
    assert mix_pairs(masks, images)[0].tolist() == [[[3, 1]]] * 3
    with pytest.raises(ValueError, match='2 masks mix 4 maps, got 3'):
        mix_pairs(masks, maps[:3])


@pytest.mark.parametrize(('height', 'width'), [(96, 128), (321, 321)])
def test_one_box_has_the_area_it_should(height, width, monkeypatch):
    monkeypatch.setattr(mixing, 'PAIR_BOXES', 1)
    masks = cutmix_pair_masks(200, height, width)
    assert masks.shape == (200, height, width)
    share = masks.float().mean((1, 2))
    assert share.min() > 0.24  # rounded to pixels
    assert share.max() < 0.51
    assert share.mean() == pytest.approx(0.375, abs=0.02)
    for mask in masks[:20]:  # a box: as many pixels as its rows times its columns
        assert mask.sum() == mask.any(0).sum() * mask.any(1).sum()


def test_boxes_reach_every_edge_and_every_shape(monkeypatch):
    monkeypatch.setattr(mixing, 'PAIR_BOXES', 1)
    masks = cutmix_pair_masks(300, 20, 30)
    for row in (0, 10, 19):
        assert 0 < masks[:, row].any(1).float().mean() < 1
    for column in (0, 15, 29):
        assert 0 < masks[:, :, column].any(1).float().mean() < 1
    aspect = masks.any(2).sum(1) / 20 / (masks.any(1).sum(1) / 30)
    assert aspect.min() < 0.6
    assert aspect.max() > 1.7


def test_three_boxes_share_the_area():
    masks = cutmix_pair_masks(200, 96, 128)
    share = masks.float().mean((1, 2))
    assert share.max() < 0.51
    assert 0.25 < share.mean() < 0.375  # less than the sum where boxes overlap


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (2, 3)])
def test_tiny_images_have_boxes_too(size):
    masks = cutmix_pair_masks(50, *size)
    assert masks.flatten(1).any(1).all()
