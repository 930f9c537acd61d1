"""Mistakes in lists, folders and files are named, with file and remedy, before training."""

import os
import shutil
import unicodedata
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
from mmcv.transforms import BaseTransform
from mmengine.config import ConfigDict
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_u2pl.datasets import SemiDataset
from mmseg_u2pl.datasets.checks import check_files, infos, leaf_configs, leaves
from mmseg_u2pl.datasets.files import image_size

WHERE = 'train_dataloader.dataset'
LOAD_IMAGE, LOAD_MASK = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')


def checked(root, **parts):
    """A ``SemiDataset`` whose files were checked."""
    dataset = tiny.semi_dataset(root, **parts)
    check_files(dataset, WHERE)
    return dataset


def image(root, name):
    return root / 'images' / 'train' / f'{name}.png'


# --------------------------------------------------------------------- before it is built
@pytest.mark.parametrize('part', ['labeled', 'unlabeled'])
def test_a_missing_root_is_named(own_root, part):
    nowhere = str(own_root / 'nowhere')
    tiny.assert_raises(
        FileNotFoundError,
        lambda: tiny.semi_dataset(own_root, **{part: dict(data_root=nowhere)}),
        f'{WHERE}.{part}.data_root',
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
        f'{WHERE}.{part}.data_prefix.img_path',
        own_root / 'images' / 'training',
    )


def test_a_missing_folder_inside_a_wrapper_is_named(own_root):
    inner = tiny.labeled_config(own_root, data_prefix=dict(img_path='no'))
    both = dict(type='ConcatDataset', datasets=[tiny.labeled_config(own_root), inner])
    tiny.assert_raises(
        FileNotFoundError,
        lambda: SemiDataset(both),
        f'{WHERE}.labeled.datasets.data_prefix.img_path',
        own_root / 'no',
    )


@pytest.mark.parametrize('part', ['labeled', 'unlabeled'])
def test_a_missing_list_is_named(own_root, part):
    tiny.assert_raises(
        FileNotFoundError,
        lambda: tiny.semi_dataset(own_root, **{part: dict(ann_file='lists/split.txt')}),
        f'{WHERE}.{part}.ann_file',
        own_root / 'lists' / 'split.txt',
        'tools/make_splits.py makes lists',
        'tools/import_splits.py',
    )


# ---------------------------------------------------------------------------------- lists
@pytest.mark.parametrize('part', ['labeled', 'unlabeled'])
def test_an_empty_list_is_named(own_root, part):
    (own_root / 'empty.txt').write_text('')
    tiny.assert_raises(
        ValueError,
        lambda: checked(own_root, **{part: dict(ann_file='empty.txt')}),
        f'{WHERE}.{part}.ann_file',
        own_root / 'empty.txt',
        'empty',
    )


# ---------------------------------------------------------------------------------- files
def test_missing_images_are_counted_and_the_first_is_named(own_root):
    for name in ('u1', 'u4'):
        image(own_root, name).unlink()
    tiny.assert_raises(
        FileNotFoundError,
        lambda: checked(own_root),
        f'{WHERE}.unlabeled: 2 files are missing',
        image(own_root, 'u1'),
        'img_suffix',
        'unlabeled.txt',
    )


def test_a_missing_mask_is_named(own_root):
    tiny.mask_path(own_root, 'l3').unlink()
    tiny.assert_raises(
        FileNotFoundError,
        lambda: checked(own_root),
        f'{WHERE}.labeled: 1 files are missing',
        tiny.mask_path(own_root, 'l3'),
        'seg_map_suffix',
    )


def test_a_name_in_another_unicode_form_is_found_by_the_remedy(own_root):
    forms = [unicodedata.normalize(form, 'Köln') for form in ('NFD', 'NFC')]
    for folder in ('images', 'masks'):
        old = own_root / folder / 'train' / 'l0.png'
        shutil.copy(old, old.with_name(f'{forms[0]}.png'))
    (own_root / 'list.txt').write_text(forms[1], encoding='utf-8')
    tiny.assert_raises(
        FileNotFoundError,
        lambda: checked(own_root, labeled=dict(ann_file='list.txt')),
        f'{forms[1]}.png',
        'FolderDataset',
        'Unicode form',
    )
    config = tiny.labeled_config(own_root, type='FolderDataset', ann_file='list.txt')
    del config['img_suffix']
    check_files(SemiDataset(config), WHERE)


def test_files_that_are_not_images_are_named_and_counted(own_root):
    image(own_root, 'u3').write_text('no image')
    image(own_root, 'u5').write_bytes(b'')
    tiny.assert_raises(
        ValueError,
        lambda: checked(own_root),
        f'{WHERE}.unlabeled: 2 files cannot be used',
        image(own_root, 'u3'),
        image(own_root, 'u5'),
        'take them out of the list',
    )


def test_ten_are_named_and_the_rest_is_counted(own_root):
    names = [f'x{i:02}' for i in range(12)]
    for name in names:
        image(own_root, name).write_text('no image')
    (own_root / 'unlabeled.txt').write_text('\n'.join(['u0', *names]))
    with pytest.raises(ValueError, match='12 files') as error:
        checked(own_root)
    assert [name in str(error.value) for name in names] == 10 * [True] + 2 * [False]
    assert 'and 2 more' in str(error.value)


def test_images_of_a_users_loading_step_are_not_opened(own_root):
    class Loader(BaseTransform):
        def transform(self, results):
            return dict(results, img=np.zeros((4, 4, 3), np.uint8))

    image(own_root, 'u0').write_text('in another format')
    dataset = checked(own_root, unlabeled=dict(pipeline=[Loader()]))
    assert dataset.unlabeled[0]['img'].shape == (4, 4, 3)


def test_an_image_on_its_side_has_the_size_it_is_loaded_with(own_root):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = image(own_root, 'l1')
    with Image.open(path) as upright:
        upright.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix('.jpg'), exif=exif)
    (own_root / 'one.txt').write_text('l1')
    changes = dict(ann_file='one.txt', img_suffix='.jpg', pipeline=[LOAD_IMAGE, LOAD_MASK])
    dataset = checked(own_root, labeled=changes)
    assert dataset[0]['img'].shape == (*dataset[0]['gt_seg_map'].shape, 3) == (40, 48, 3)


# ---------------------------------------------------------------------------------- masks
def test_masks_of_another_size_are_named(own_root):
    for name in ('l1', 'l3'):
        cv2.imwrite(str(tiny.mask_path(own_root, name)), np.zeros((40, 47), np.uint8))
    tiny.assert_raises(
        ValueError,
        lambda: checked(own_root),
        f'{WHERE}.labeled: 2 files cannot be used',
        tiny.mask_path(own_root, 'l1'),
        'is 47x40 pixels',
        image(own_root, 'l1'),
        '48x40',
    )


def test_a_color_mask_is_named_with_the_remedy(own_root):
    cv2.imwrite(str(tiny.mask_path(own_root, 'l1')), np.zeros((40, 48, 3), np.uint8))
    for step in (LOAD_MASK, dict(type='LoadMask')):
        tiny.assert_raises(
            ValueError,
            lambda step=step: checked(own_root, labeled=dict(pipeline=[LOAD_IMAGE, step])),
            tiny.mask_path(own_root, 'l1'),
            "type='LoadMask', colors=",
        )
    load = dict(type='LoadMask', colors=[[0, 0, 0]])
    checked(own_root, labeled=dict(pipeline=[LOAD_IMAGE, load]))


def test_labels_beyond_a_byte_do_not_pass_as_others(own_root):
    labels = np.zeros((40, 48), np.uint16)
    labels[0, 0] = 257  # mmseg would make it 1
    cv2.imwrite(str(tiny.mask_path(own_root, 'l2')), labels)
    tiny.assert_raises(
        ValueError,
        lambda: checked(own_root),
        tiny.mask_path(own_root, 'l2'),
        'values to 257',
        'LoadMask',
    )


# ------------------------------------------------------------------------------- wrappers
def test_wrapped_data_sets_are_checked_and_named(own_root):
    config = tiny.labeled_config(own_root)
    both = dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=2 * [config]), times=2)  # fmt: skip
    dataset = SemiDataset(both, tiny.unlabeled_config(own_root))
    places = [place for place, _ in leaves(dataset, WHERE)]
    assert places == [
        f'{WHERE}.labeled.dataset.datasets[0]',
        f'{WHERE}.labeled.dataset.datasets[1]',
        f'{WHERE}.unlabeled',
    ]
    image(own_root, 'l1').write_text('no image')
    tiny.assert_raises(
        ValueError, lambda: check_files(dataset, WHERE), f'{places[0]}: 1 files', 'l1.png'
    )


def test_a_data_set_without_masks_in_its_pipeline_needs_none(own_root):
    tiny.mask_path(own_root, 'l1').unlink()
    config = tiny.labeled_config(own_root, pipeline=[LOAD_IMAGE])
    check_files(DATASETS.build(config), 'test_dataloader.dataset')


# --------------------------------------------------------------------- several processes
def _check(rank, root):
    opened: Any = []
    really_open = Image.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, 'open', lambda path: opened.append(str(path)) or really_open(path))
        dataset = tiny.semi_dataset(root)
        with pytest.raises(ValueError, match='1 files cannot be used') as error:
            check_files(dataset, WHERE)
    counts = dataset.labels.counts
    return opened, str(error.value), counts


def test_processes_share_the_files_and_come_to_the_same_end(own_root, together):
    image(own_root, 'u1').write_text('no image')
    (one, message, counts), (two, other, same) = together(2, _check, own_root)
    assert message == other
    assert str(image(own_root, 'u1')) in message
    assert len(one) == len(two) == 7
    assert len({*one, *two}) == 14
    assert np.array_equal(counts, same)
    assert counts.sum() == 4 * 40 * 48


def test_an_orientation_in_xmp_alone_turns_nothing(tmp_path):
    """OpenCV, which loads images, reads EXIF."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"></x:xmpmeta>'
    Image.new('RGB', (30, 20)).save(tmp_path / 'a.jpg', xmp=xmp)
    assert Image.open(tmp_path / 'a.jpg').getexif()[0x0112] == 6
    assert image_size(tmp_path / 'a.jpg') == (30, 20)
    assert np.asarray(cv2.imread(str(tmp_path / 'a.jpg'))).shape == (20, 30, 3)


def test_the_configs_inside_wrappers():
    one, two = ConfigDict(type='A'), ConfigDict(type='B')
    both = ConfigDict(type='ConcatDataset', datasets=[one, dict(type='RepeatDataset', dataset=two)])
    assert [part.type for part in leaf_configs(both)] == ['A', 'B']


def test_images_of_wrappers_are_named_once(data_root):
    dataset = tiny.semi_dataset(data_root).labeled
    paths = [info['img_path'] for info in infos(dataset)]
    assert len(set(paths)) == len(paths) > 0
    repeated = RepeatDataset(dataset, times=3)
    assert [info['img_path'] for info in infos(repeated)] == paths
    assert [info['img_path'] for info in infos(ConcatDataset([dataset, dataset]))] == paths * 2
