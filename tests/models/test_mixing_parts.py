"""CutMix and ClassMix as parts: how often, which masks, and a batch that cannot be mixed."""

import warnings
from typing import Any

import pytest
import tiny
import torch
from mmseg.registry import MODELS

from mmseg_u2pl.models import ClassMix, CutMix
from mmseg_u2pl.models.segmentors.pseudo_labeling import mixed


def labels(num=2, size=(16, 24)):
    return torch.randint(0, 3, (num, *size))


def boxes(masks):
    """Height, width and area of each mask's bounding box; a box is as large as its area."""
    high, wide = masks.any(2).sum(1), masks.any(1).sum(1)
    assert torch.equal(high * wide, masks.sum((1, 2)))
    return high, wide, high * wide


def test_boxes_of_half_the_image_by_default():
    masks = CutMix(prob=1.0)(labels(200))
    high, wide, area = boxes(masks)
    assert ((area - 16 * 24 / 2).abs() <= wide / 2).all()  # rounded to whole rows
    assert wide.min() >= 12
    assert len(high.unique()) > 3  # each image has a box of its size


@pytest.mark.parametrize('kind', [dict(type='CutMix'), dict(type='ClassMix')])
def test_a_step_is_mixed_as_a_whole(kind):
    mix = MODELS.build(dict(kind, prob=0.3))
    steps = [mix(labels(3, (4, 4))) for _ in range(2000)]
    # four standard deviations of a binomial
    assert sum(masks is not None for masks in steps) == pytest.approx(600, abs=82)
    if mix.__class__ is CutMix:
        assert all(masks.flatten(1).any(1).all() for masks in steps if masks is not None)


def test_with_an_area_each_image_is_mixed_or_not():
    mix = CutMix(prob=0.5, area=(0.1, 0.4), aspect=(0.5, 2.0))
    masks = torch.cat([mix(labels(4, (60, 60))) for _ in range(250)])
    in_box = masks.flatten(1).any(1)
    assert in_box.sum() == pytest.approx(500, abs=4 * 250**0.5)
    steps = in_box.view(-1, 4).sum(1)
    assert set(steps.tolist()) == {0, 1, 2, 3, 4}  # not one decision a step
    high, wide, area = boxes(masks[in_box])
    assert area.min() >= 0.09 * 3600
    assert area.max() <= 0.43 * 3600
    assert (high / wide).min() >= 0.45
    assert (high / wide).max() <= 2.2


@pytest.mark.parametrize(('prob', 'all_or_none'), [(0.0, False), (1.0, True)])
def test_never_and_always(prob, all_or_none):
    masks = CutMix(prob, area=(0.1, 0.4))(labels(50))
    assert (masks.flatten(1).any(1) == all_or_none).all()
    assert (CutMix(prob)(labels()) is not None) == all_or_none
    assert (ClassMix(prob)(labels()) is not None) == all_or_none


def test_classmix_pastes_half_of_the_next_images_classes():
    label = torch.tensor([[[0, 0, 1, 255]], [[2, 2, 2, 255]]])
    masks = ClassMix(prob=1.0)(label)
    assert masks[0].tolist() == [[True, True, True, False]]  # one of one class, no padding
    assert masks[1].tolist() in ([[True, True, False, False]], [[False, False, True, False]])


def test_a_batch_of_one_unlabeled_image_warns():
    for mix in (CutMix(), ClassMix()):
        with pytest.warns(UserWarning, match=f'{type(mix).__name__} .*only one: nothing'):
            mix.check(1)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        CutMix().check(2)
        CutMix(prob=0.0).check(1)


@pytest.mark.parametrize(
    ('settings', 'named'),
    [
        (dict(prob=1.5), ('prob', '1.5')),
        (dict(prob=-0.1), ('prob', '-0.1')),
        (dict(area=(0.4, 0.02)), ('area', '0.4')),
        (dict(area=(0.0, 0.5)), ('area', '0.0')),
        (dict(area=(0.5, 1.5)), ('area', '1.5')),
        (dict(area=(0.1, 0.4), aspect=(0.0, 1.0)), ('aspect', '0.0')),
    ],
)
def test_a_setting_outside_its_range_is_named(settings: Any, named):
    tiny.assert_raises(ValueError, lambda: CutMix(**settings), f'mix.{named[0]}', named[1])


def test_maps_of_any_size_are_mixed_by_the_same_masks():
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2] = True  # the upper half of image 0 shows image 1
    label = torch.tensor([0, 1]).view(2, 1, 1).expand(2, 4, 4)
    rep = torch.tensor([10.0, 20.0]).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    mixed_label, mixed_rep = mixed(masks, label, rep)
    assert mixed_label[0].tolist() == [[1] * 4] * 2 + [[0] * 4] * 2
    assert mixed_rep[0, 0].tolist() == [[20, 20], [10, 10]]
    assert torch.equal(mixed_label[1], label[1])
    assert torch.equal(mixed_rep[1], rep[1])
    assert mixed(None, label, rep) == (label, rep)
