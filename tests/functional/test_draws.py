"""Drawing places of a mask: which, how often, and never the same twice."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_u2pl.functional import draw_with_replacement, draw_without_replacement


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


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 40),
    num=st.integers(1, 50),
    share=st.floats(0, 1),
)
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
