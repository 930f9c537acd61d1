"""Labels are counted as the loading step leaves them, each mask once."""

import cv2
import numpy as np
import pytest
import tiny
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS, TRANSFORMS

from mmseg_u2pl.datasets import SemiDataset
from mmseg_u2pl.datasets.labels import count_labels

LOAD_IMAGE, LOAD_MASK = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')


def pixels(root, *names):
    """Labels of masks, counted directly (256,)."""
    masks = [np.ravel(np.array(cv2.imread(str(tiny.mask_path(root, n)), 0))) for n in names]
    return np.bincount(np.concatenate(masks), minlength=256)


def labels(root, **changes):
    return SemiDataset(tiny.labeled_config(root, **changes)).labels


def test_pixels_and_the_first_mask_of_each_label(own_root):
    tiny.set_label(own_root, 7, 'l1')
    tiny.set_label(own_root, 7, 'l3')
    found = labels(own_root)
    assert found.counts.dtype == np.int64
    assert np.array_equal(found.counts, pixels(own_root, 'l0', 'l1', 'l2', 'l3'))
    assert list(found.examples) == [0, 1, 2, 7, 255]
    assert found.examples[7] == str(tiny.mask_path(own_root, 'l1'))
    assert found.examples[255] == str(tiny.mask_path(own_root, 'l0'))


def test_value_tables_and_the_data_sets_mapping_apply(own_root):
    counts = pixels(own_root, 'l0', 'l1', 'l2', 'l3')
    load = dict(type='LoadMask', values={0: 2, 1: 1, 2: 0, 255: 255})
    turned = labels(own_root, pipeline=[LOAD_IMAGE, load])
    assert np.array_equal(turned.counts[[2, 1, 0, 255]], counts[[0, 1, 2, 255]])
    for step in ('LoadAnnotations', 'LoadMask'):
        pipeline = [LOAD_IMAGE, dict(type=step)]
        reduced = labels(own_root, pipeline=pipeline, reduce_zero_label=True)
        expected = [counts[1], counts[2], 0, counts[0] + counts[255]]
        assert reduced.counts[[0, 1, 2, 255]].tolist() == expected


def test_a_users_loading_step_counts(own_root):
    if 'AddsOne' not in TRANSFORMS:

        @TRANSFORMS.register_module()
        class AddsOne(LoadAnnotations):
            def _load_seg_map(self, results):
                super()._load_seg_map(results)
                results['gt_seg_map'] += 1

    found = labels(own_root, pipeline=[LOAD_IMAGE, dict(type='AddsOne')])
    counts = pixels(own_root, 'l0', 'l1', 'l2', 'l3')
    assert found.counts[:4].tolist() == [counts[255], *counts[:3]]


def test_several_data_sets_as_one_add_up(own_root):
    part = tiny.labeled_config(own_root)
    both = SemiDataset(dict(type='ConcatDataset', datasets=[part, part]))
    assert np.array_equal(both.labels.counts, 2 * labels(own_root).counts)


def test_each_mask_is_loaded_once_however_often_it_is_asked_for(own_root, monkeypatch):
    loaded = []
    load = LoadAnnotations._load_seg_map

    def counted(self, results):
        loaded.append(results['seg_map_path'])
        load(self, results)

    monkeypatch.setattr(LoadAnnotations, '_load_seg_map', counted)
    dataset = tiny.semi_dataset(own_root)
    assert dataset.labels is dataset.labels
    assert sorted(loaded) == [str(tiny.mask_path(own_root, f'l{i}')) for i in range(4)]


# --------------------------------------------------------------------------------- errors
def test_damaged_masks_are_named_and_counted(own_root):
    for name in ('l1', 'l2'):
        content = tiny.mask_path(own_root, name).read_bytes()
        tiny.mask_path(own_root, name).write_bytes(content[: len(content) // 2])
    for step in ('LoadAnnotations', 'LoadMask'):
        pipeline = [LOAD_IMAGE, dict(type=step)]
        parts = ('train_dataloader.dataset.labeled: ', str(tiny.mask_path(own_root, 'l2')))
        tiny.assert_raises(ValueError, lambda p=pipeline: labels(own_root, pipeline=p), *parts)


@pytest.mark.parametrize('pipeline', [[LOAD_IMAGE, dict(type='PackSegInputs')], []])
def test_a_labeled_pipeline_without_masks_is_named(own_root, pipeline):
    config = tiny.labeled_config(own_root, pipeline=pipeline)
    tiny.assert_raises(
        ValueError,
        lambda: count_labels(DATASETS.build(config), 'here'),
        'here: ',
        'LoadAnnotations',
    )
