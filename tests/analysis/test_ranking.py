"""The order of images to label, worked out by hand."""

import numpy as np
import pytest

from mmseg_u2pl.analysis.ranking import Seen, rank

NONE = np.zeros((0, 2))


def seen(entropy, features, share=None):
    share = np.full((len(entropy), 2), 0.5) if share is None else np.array(share)
    return Seen(np.array(entropy), share, np.array(features, dtype=float))


def order(*arguments):
    return [one.position for one in rank(*arguments)]


def test_the_unsure_come_first_where_all_are_alike_in_the_rest():
    features = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    (first,) = rank(seen([0.1, 0.4, 0.3, 0.2], features), NONE, 1)
    assert first.position == 1
    # places by entropy 4/4; all rarities are equal, the place of each is 1/4
    assert first.score == pytest.approx((1 + 0.25) / 2)
    assert (first.entropy, first.distance) == (0.4, 1)


def test_rare_classes_count_by_their_share_among_all_labels():
    share = [[1, 0], [1, 0], [0.6, 0.4], [0.4, 0.6]]  # f = 0.75, 0.25
    features = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    (first,) = rank(seen([0.2] * 4, features, share), NONE, 1)
    assert first.position == 3
    assert first.rarity == pytest.approx(-0.4 * np.log(0.75) - 0.6 * np.log(0.25))


def test_an_image_like_a_labeled_or_ranked_one_waits():
    features = [[1, 0], [0.99, 0.01], [0, 1], [-1, 0]]
    entropy = [0.4, 0.3, 0.2, 0.1]
    assert order(seen(entropy, features), NONE, 2)[0] == 0
    # distances after it: 1 about 0, 2 ½, 3 1; scores (3 + 1)/8, (2 + 1)/8, (1 + 1)/8
    assert order(seen(entropy, features), NONE, 4) == [0, 3, 2, 1]
    labeled = np.array([[5.0, 0.0]])  # the length does not count
    found = rank(seen(entropy, features), labeled, 2)
    assert [one.position for one in found] == [3, 2]
    assert [one.distance for one in found] == pytest.approx([1, 0.5])


def test_each_image_once_and_no_more_than_there_are():
    same = [[1, 1]] * 5
    assert sorted(order(seen([0.1] * 5, same), NONE, 9)) == [0, 1, 2, 3, 4]
