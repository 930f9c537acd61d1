"""Every likely mistake in the data is named, with file and remedy, before training."""

import os

import cv2
import numpy as np
import pytest
import tiny
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from mmseg_u2pl.datasets.checks import check_labels, label_counts


# --------------------------------------------------------------------- before it is built
@pytest.mark.parametrize('part', ['labeled', 'unlabeled'])
def test_a_missing_root_is_named(own_root, part):
    nowhere = str(own_root / 'nowhere')
    tiny.assert_raises(
        FileNotFoundError,
        lambda: tiny.semi_dataset(own_root, **{part: dict(data_root=nowhere)}),
        f'train_dataloader.dataset.{part}.data_root',
        nowhere,
        os.getcwd(),  # a relative root depends on it
        'Put or link the data there',
    )


@pytest.mark.parametrize('part', ['labeled', 'unlabeled'])
def test_a_missing_folder_is_named(own_root, part):
    prefix = dict(img_path='images/training')
    tiny.assert_raises(
        FileNotFoundError,
        lambda: tiny.semi_dataset(own_root, **{part: dict(data_prefix=prefix)}),
        f'train_dataloader.dataset.{part}.data_prefix.img_path',
        own_root / 'images' / 'training',
    )


@pytest.mark.parametrize('part', ['labeled', 'unlabeled'])
def test_a_missing_list_is_named(own_root, part):
    tiny.assert_raises(
        FileNotFoundError,
        lambda: tiny.semi_dataset(own_root, **{part: dict(ann_file='lists/split.txt')}),
        f'train_dataloader.dataset.{part}.ann_file',
        own_root / 'lists' / 'split.txt',
        'one image a line',
    )


def test_a_missing_split_names_what_makes_splits(own_root):
    tiny.assert_raises(
        FileNotFoundError,
        lambda: tiny.semi_dataset(own_root, labeled=dict(ann_file='splits/1_8_labeled.txt')),
        own_root / 'splits' / '1_8_labeled.txt',
        'tools/dataset_converters/import_splits.py',
        'tools/make_splits.py',
    )


@pytest.mark.parametrize('part', ['labeled', 'unlabeled'])
@pytest.mark.parametrize(
    ('lines', 'problem'),
    [('l0\n\nl1\nl0', "line 4: 'l0' is the image of line 1"), ('l0\n../val/v0', 'line 2')],
)
def test_a_bad_line_is_named(own_root, part, lines, problem):
    (own_root / 'bad.txt').write_text(lines)
    tiny.assert_raises(
        ValueError,
        lambda: tiny.semi_dataset(own_root, **{part: dict(ann_file='bad.txt')}),
        own_root / 'bad.txt',
        problem,
    )


@pytest.mark.parametrize('part', ['labeled', 'unlabeled'])
@pytest.mark.parametrize('text', ['', ' \n\n'])
def test_an_empty_list_is_named(own_root, part, text):
    (own_root / 'empty.txt').write_text(text)
    tiny.assert_raises(
        ValueError,
        lambda: tiny.semi_dataset(own_root, **{part: dict(ann_file='empty.txt')}),
        f'train_dataloader.dataset.{part}.ann_file',
        own_root / 'empty.txt',
        'empty',
    )


def test_an_empty_folder_is_named(own_root):
    (own_root / 'none').mkdir()
    prefix = dict(img_path='none')
    tiny.assert_raises(
        ValueError,
        lambda: tiny.semi_dataset(own_root, unlabeled=dict(data_prefix=prefix, ann_file='')),
        own_root / 'none',
        'no image found',
    )


def test_missing_images_are_counted_and_the_first_is_named(own_root):
    for name in ('u1', 'u4'):
        (own_root / 'images' / 'train' / f'{name}.png').unlink()
    tiny.assert_raises(
        FileNotFoundError,
        lambda: tiny.semi_dataset(own_root),
        'train_dataloader.dataset.unlabeled: 2 of 6 files are missing',
        own_root / 'images' / 'train' / 'u1.png',
        'img_suffix',
        'unlabeled.txt',
    )


def test_a_missing_mask_is_named(own_root):
    (own_root / 'masks' / 'train' / 'l3.png').unlink()
    tiny.assert_raises(
        FileNotFoundError,
        lambda: tiny.semi_dataset(own_root),
        'train_dataloader.dataset.labeled: 1 of 8 files',
        own_root / 'masks' / 'train' / 'l3.png',
        'seg_map_suffix',
    )


def test_a_wrong_suffix_shows_as_missing_files(own_root):
    tiny.assert_raises(
        FileNotFoundError,
        lambda: tiny.semi_dataset(own_root, labeled=dict(img_suffix='.jpg')),
        '4 of 8 files',
        own_root / 'images' / 'train' / 'l0.jpg',
        'img_suffix',
    )


# -------------------------------------------------------------------------------- labels
@pytest.mark.parametrize('value', [3, 100, 254])
def test_a_label_beyond_the_classes_is_named_with_its_file(own_root, value):
    tiny.set_label(own_root, value)
    tiny.assert_raises(
        ValueError,
        lambda: check_labels(tiny.semi_dataset(own_root).labeled, 3),
        own_root / 'masks' / 'train' / 'l2.png',
        f'the label {value}',
        'classes 0 ... 2',
        'decode_head.num_classes',
    )


def test_a_binary_mask_of_0_and_255_is_not_taken_for_foreground_and_ignore(own_root):
    # 255 alone beside 0 in every mask: two classes, the second of which has no pixel
    for path in (own_root / 'masks' / 'train').iterdir():
        mask = np.zeros((40, 48), np.uint8)
        mask[10:20] = 255
        cv2.imwrite(str(path), mask)
    dataset = tiny.semi_dataset(own_root, labeled=dict(metainfo=dict(classes=('no', 'yes'))))
    tiny.assert_raises(
        ValueError,
        lambda: check_labels(dataset.labeled, 2),
        own_root / 'masks' / 'train',
        '255',
        '0/255 mask needs 255 → 1',
    )
    # the remedy that the message gives
    step = dict(type='LoadMask', values={0: 0, 255: 1})
    dataset = tiny.semi_dataset(
        own_root, labeled=dict(pipeline=[dict(type='LoadImageFromFile'), step])
    )
    check_labels(dataset.labeled, 2)
    assert label_counts(dataset.labeled)[:2].tolist() == [4 * 30 * 48, 4 * 10 * 48]


def test_labels_count_after_the_data_sets_own_mapping(own_root):
    # reduce_zero_label: 0 → 255, 1 ... 3 → 0 ... 2
    tiny.set_label(own_root, 3)
    dataset = tiny.semi_dataset(own_root, labeled=dict(reduce_zero_label=True))
    check_labels(dataset.labeled, 3)
    tiny.assert_raises(ValueError, lambda: check_labels(dataset.labeled, 2), 'the label 2')


@pytest.mark.parametrize('step', ['LoadMask', 'OwnLoader'])
def test_any_kind_of_mmcvs_loading_step_counts(own_root, step):
    tiny.set_label(own_root, 3)
    if step == 'OwnLoader' and 'OwnLoader' not in TRANSFORMS:

        @TRANSFORMS.register_module()
        class OwnLoader(LoadAnnotations):
            pass

    pipeline = [dict(type='LoadImageFromFile'), dict(type=step)]
    dataset = tiny.semi_dataset(own_root, labeled=dict(pipeline=pipeline))
    tiny.assert_raises(ValueError, lambda: check_labels(dataset.labeled, 3), 'the label 3')


def test_a_labeled_pipeline_without_masks_is_named(own_root):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    dataset = tiny.semi_dataset(own_root, labeled=dict(pipeline=pipeline))
    tiny.assert_raises(ValueError, lambda: check_labels(dataset.labeled, 3), 'LoadAnnotations')
