"""The images to label next, worked out by hand."""

import numpy as np
import pytest

from mmseg_u2pl.analysis.ranking import rank


def around(*degrees):
    """Vectors of several lengths in these directions."""
    angles = np.deg2rad(degrees)
    return (
        np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, 1 + len(angles))[:, None]
    )


def order(*arguments):
    return [one.position for one in rank(*arguments)]


def test_the_middle_of_the_largest_cluster_without_a_mask_comes_first():
    # with a mask: 0°; clusters about 1°, 90° and 180°, the last of which is the largest
    images = around(0, 1, 2, 88, 90, 92, 178, 179, 180, 181, 182)
    first, second = rank(images, 1, 2)
    assert (first.position, second.position) == (7, 3)  # 180° and 90°, without the one with a mask
    assert (first.unlabeled, first.labeled) == (5, 0)
    assert (second.unlabeled, second.labeled) == (3, 0)
    assert first.cluster != second.cluster
    # vectors of length 1 about 180°: their mean is on the axis, (1 + 2 cos 1° + 2 cos 2°) / 5 from 0
    mean = (1 + 2 * np.cos(np.pi / 180) + 2 * np.cos(np.pi / 90)) / 5
    assert first.distance == pytest.approx(1 - mean)


def test_a_cluster_waits_a_turn_for_each_mask_and_each_image_before():
    # all but the copies are one cluster each, whatever k-means starts from
    images = around(0, 120, 120, 0, 0, 0, 120, 240, 240)  # the first three have masks
    found = rank(images, 3, 9)
    # images left by direction: 0° 0 1 2 and one mask, 120° 3 and two masks, 240° 4 5 and none
    assert [one.position for one in found] == [4, 0, 5, 1, 3, 2]
    assert [one.labeled for one in found] == [0, 1, 0, 1, 2, 1]
    assert [one.unlabeled for one in found] == [2, 3, 2, 3, 1, 3]


def test_without_masks_each_image_once_and_no_more_than_there_are():
    assert sorted(order(np.ones((5, 2)), 0, 9)) == [0, 1, 2, 3, 4]
    assert order(around(10, 20, 200), 0, 1) == [0]  # closest to the mean of all
