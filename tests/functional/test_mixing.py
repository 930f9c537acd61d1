"""Boxes, masks and the exchange of pixels inside a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_u2pl.functional import (
    apply_mix,
    box_masks,
    class_mix_masks,
    cutmix_boxes,
    random_boxes,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# -------------------------------------------------------------------------------- boxes
@given(height=st.integers(2, 70), width=st.integers(2, 70), seed=st.integers(0, 1000))
def test_a_box_lies_inside_and_covers_half_the_image(height, width, seed):
    torch.manual_seed(seed)
    boxes = cutmix_boxes(20, height, width)
    y1, x1, y2, x2 = boxes.T
    assert (y1 >= 0).all()
    assert (x1 >= 0).all()
    assert (y2 <= height).all()
    assert (x2 <= width).all()
    box_width = x2 - x1
    assert (2 * box_width >= width).all()
    assert (box_width < width).all()
    # the height is rounded to whole pixels: at most half a row off
    off = ((y2 - y1) * box_width - height * width / 2).abs()
    assert (off <= box_width / 2).all()


def test_widths_and_positions_are_uniform():
    torch.manual_seed(0)
    boxes = cutmix_boxes(30_000, 8, 8, torch.Generator().manual_seed(0))
    assert torch.equal(boxes, cutmix_boxes(30_000, 8, 8, torch.Generator().manual_seed(0)))
    box_width = boxes[:, 3] - boxes[:, 1]
    counts = torch.bincount(box_width, minlength=9)
    assert counts[:4].sum() == counts[8] == 0  # [W/2, W) = 4 ... 7
    expected = 30_000 / 4
    chi_square = ((counts[4:8] - expected) ** 2 / expected).sum()
    assert chi_square < 16.3  # 3 degrees of freedom, p = 0.001
    # a box 5 wide starts at 0 ... 3, and is 32/5 → 6 high: it starts at 0 ... 2
    five = boxes[box_width == 5]
    for column, starts in ((1, 4), (0, 3)):
        counts = torch.bincount(five[:, column], minlength=starts)
        assert len(counts) == starts
        expected = len(five) / starts
        assert ((counts - expected) ** 2 / expected).sum() < 16.3


@pytest.mark.parametrize(('height', 'width'), [(1, 8), (8, 1)])
def test_too_small_an_image(height, width):
    with pytest.raises(ValueError, match=f'{height}×{width}'):
        cutmix_boxes(1, height, width)


# ------------------------------------------------------------------- boxes of varied area
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    area=st.sampled_from([(0.02, 0.4), (0.3, 0.3), (1.0, 1.0)]),
    aspect=st.sampled_from([(0.3, 1 / 0.3), (1.0, 1.0), (50.0, 60.0)]),
)
def test_a_varied_box_lies_inside_and_has_a_pixel(height, width, area, aspect):
    y1, x1, y2, x2 = random_boxes(30, height, width, area, aspect).T
    assert ((y1 >= 0) & (x1 >= 0) & (y2 <= height) & (x2 <= width)).all()
    assert ((y2 > y1) & (x2 > x1)).all()


def test_area_and_aspect_of_varied_boxes():
    torch.manual_seed(0)
    boxes = random_boxes(4000, 400, 400, (0.02, 0.4), (0.5, 2.0))
    high, wide = (boxes[:, 2] - boxes[:, 0]).double(), (boxes[:, 3] - boxes[:, 1]).double()
    share, aspect = high * wide / 400**2, high / wide
    for values, low, top in ((share, 0.02, 0.4), (aspect, 0.5, 2.0)):
        assert values.min() == pytest.approx(low, rel=0.05)  # rounded to whole pixels
        assert values.max() == pytest.approx(top, rel=0.05)
        # uniform: four standard errors of the mean
        error = 4 * (top - low) / 12**0.5 / 4000**0.5
        assert values.mean().item() == pytest.approx((low + top) / 2, abs=error + 0.01)


def test_varied_boxes_of_the_whole_image_and_beyond():
    assert random_boxes(1, 8, 6, (1.0, 1.0), (8 / 6, 8 / 6)).tolist() == [[0, 0, 8, 6]]
    # 4 · 4 pixels twice as high as wide: 5.7 → 4 rows, 2.8 → 3 columns
    (box,) = random_boxes(1, 4, 4, (1.0, 1.0), (2.0, 2.0)).tolist()
    assert (box[0], box[2], box[3] - box[1]) == (0, 4, 3)


def test_varied_boxes_reach_every_place():
    torch.manual_seed(0)
    boxes = random_boxes(500, 6, 6, (0.1, 0.2), (1.0, 1.0))
    masks = box_masks(boxes, 6, 6)
    assert masks.any(0).all()
    assert set(boxes[:, 0].tolist()) >= {0, 3}


def test_box_masks_by_hand():
    masks = box_masks(torch.tensor([[0, 1, 2, 3], [1, 0, 2, 1]]), 2, 3)
    assert masks.tolist() == [
        [[False, True, True], [False, True, True]],
        [[False, False, False], [True, False, False]],
    ]


# ------------------------------------------------------------------------------- mixing
def test_image_i_takes_its_box_from_image_i_plus_1():
    images = torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    labels = torch.tensor([0, 1, 255]).view(3, 1, 1).expand(3, 2, 2)
    left_column, top_row, nothing = [0, 0, 2, 1], [0, 0, 1, 2], [0, 0, 0, 0]
    boxes = torch.tensor([left_column, top_row, nothing])
    mixed, mixed_labels = apply_mix(boxes, images, labels)
    assert mixed[:, 0].tolist() == [
        [[20, 10], [20, 10]],  # image 0 takes from 1
        [[30, 30], [20, 20]],  # image 1 takes from 2
        [[30, 30], [30, 30]],
    ]
    assert mixed_labels.tolist() == [
        [[1, 0], [1, 0]],
        [[255, 255], [1, 1]],
        [[255, 255], [255, 255]],
    ]


def test_the_last_image_takes_from_the_first():
    images = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    (mixed,) = apply_mix(torch.tensor([[0, 0, 1, 1]] * 3), images)
    assert mixed.flatten().tolist() == [2, 3, 1]


@given(seed=st.integers(0, 1000), batch=st.integers(1, 4))
def test_every_pixel_comes_from_the_image_or_the_next(seed, batch):
    images = torch.rand(batch, 3, 5, 6, generator=generator(seed))
    confidence = torch.rand(batch, 5, 6, generator=generator(seed + 1))
    copies = images.clone(), confidence.clone()
    torch.manual_seed(seed)
    boxes = cutmix_boxes(batch, 5, 6)
    mixed, mixed_confidence = apply_mix(boxes, images, confidence)
    for i, (y1, x1, y2, x2) in enumerate(boxes.tolist()):
        for y in range(5):
            for x in range(6):
                source = (i + 1) % batch if y1 <= y < y2 and x1 <= x < x2 else i
                assert torch.equal(mixed[i, :, y, x], images[source, :, y, x])
                assert mixed_confidence[i, y, x] == confidence[source, y, x]
    assert torch.equal(images, copies[0])
    assert torch.equal(confidence, copies[1])


def test_a_batch_of_one_stays_as_it_is():
    image = torch.rand(1, 3, 4, 4)
    assert torch.equal(apply_mix(cutmix_boxes(1, 4, 4), image)[0], image)


def test_masks_do_what_their_boxes_do():
    images = torch.rand(3, 2, 8, 8)
    boxes = cutmix_boxes(3, 8, 8)
    by_mask, by_box = apply_mix(box_masks(boxes, 8, 8), images), apply_mix(boxes, images)
    assert torch.equal(by_mask[0], by_box[0])


# ----------------------------------------------------------------------------- classmix
@given(seed=st.integers(0, 10_000), batch=st.integers(1, 3), classes=st.integers(1, 7))
def test_classmix_pastes_half_of_the_next_images_classes_and_never_255(seed, batch, classes):
    rng = np.random.default_rng(seed)
    labels = torch.tensor(rng.choice([*range(classes), 255], (batch, 4, 5)))
    torch.manual_seed(seed)
    masks = class_mix_masks(labels, classes)
    for i in range(batch):
        source = labels[(i + 1) % batch]
        present = set(source.unique().tolist()) - {255}
        pasted = set(source[masks[i]].unique().tolist())
        assert len(pasted) == (len(present) + 1) // 2
        assert 255 not in pasted
        for c in pasted:  # whole classes
            assert masks[i][source == c].all()


def test_classmix_of_ignored_pixels_alone_pastes_nothing():
    masks = class_mix_masks(torch.full((2, 3, 3), 255), 4)
    assert not masks.any()


def test_classmix_chooses_every_class_equally_often():
    labels = torch.arange(4).view(1, 2, 2).expand(2000, 2, 2)
    torch.manual_seed(0)
    share = class_mix_masks(labels, 4).float().mean(0)
    # two of four classes: ½ each; five standard errors of a mean of 2000 are 0.056
    torch.testing.assert_close(share, torch.full((2, 2), 0.5), rtol=0, atol=0.056)
