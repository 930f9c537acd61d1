"""Cityscapes: masks of the classes from the masks of all labels."""

import os
from pathlib import Path

import numpy as np
import original_data as data
import pytest
from mmseg.datasets import CityscapesDataset
from PIL import Image
from tiny import assert_raises

from mmseg_u2pl.prepare.converters import cityscapes, files


@pytest.fixture
def root(tmp_path):
    return data.cityscapes(tmp_path / 'cityscapes')


def prepare(root):
    return cityscapes.prepare_cityscapes(root, data.CITY_COUNTS)


def mask_path(root, stem, part='train', kind='labelTrainIds'):
    return root / f'gtFine/{part}/{stem}_gtFine_{kind}.png'


def test_masks_hold_the_classes(root):
    assert prepare(root) == data.CITY_COUNTS
    names = CityscapesDataset.METAINFO['classes']
    classes = {7: 'road', 8: 'sidewalk', 26: 'car', 31: 'train', 33: 'bicycle'}
    for part in data.CITIES:
        for stem in data.city_stems(part):
            with Image.open(mask_path(root, stem, part)) as image:
                mask = np.asarray(image)
            assert mask.dtype == np.uint8
            ids = data.city_labels(stem)
            for label_id, name in classes.items():
                np.testing.assert_array_equal(mask == names.index(name), ids == label_id)
            assert (mask[np.isin(ids, [0, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255])] == 255).all()


def test_table():
    ids = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])
    np.testing.assert_array_equal(cityscapes.train_ids(ids), np.arange(19))
    others = np.setdiff1d(np.append(np.arange(34), 255), ids)
    assert (cityscapes.train_ids(others) == 255).all()
    assert_raises(ValueError, lambda: cityscapes.train_ids(np.array([7, 34])), '34')


def test_table_is_that_of_the_official_scripts():
    labels = pytest.importorskip('cityscapesscripts.helpers.labels').labels
    counted = {label.id: label.trainId for label in labels if 0 <= label.trainId < 255}
    assert counted == {label_id: c for c, label_id in enumerate(cityscapes.LABEL_IDS)}
    assert max(label.id for label in labels) == cityscapes.MAX_LABEL_ID


def test_mmseg_reads_what_was_written(root):
    prepare(root)
    dataset = CityscapesDataset(
        data_root=str(root),
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )
    assert len(dataset) == 5
    expected = cityscapes.train_ids(data.city_labels(data.city_stems('train')[0]))
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], expected)


def test_existing_masks_are_kept_and_checked(root):
    path = mask_path(root, 'jena/jena_000001_000019')
    path.write_bytes(data.png(data.labels(3, [0, 18, 255])))
    before = path.read_bytes()
    assert prepare(root) == {'train': 4, 'val': 2}
    assert path.read_bytes() == before
    assert prepare(root) == {'train': 0, 'val': 0}
    path.write_bytes(data.png(data.labels(3, [0, 19])))
    assert_raises(ValueError, lambda: prepare(root), path, 'label 19', 'Delete it')
    path.write_bytes(before[:30])
    assert_raises(ValueError, lambda: prepare(root), path, 'Delete it')
    path.unlink()
    assert prepare(root) == {'train': 1, 'val': 0}


def test_an_interrupted_run_continues(root, monkeypatch):
    written: list[Path] = []

    def interrupted(path, content):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        files.write_atomic(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(cityscapes, 'write_atomic', interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(root)
    there = sorted(root.rglob('*labelTrainIds.png'))
    assert set(there) == set(written)
    first = {path: os.stat(path).st_mtime_ns for path in there}
    made = prepare(root)
    assert made == {'train': 5 - len(there), 'val': 2}
    assert {path: os.stat(path).st_mtime_ns for path in there} == first


def test_missing_image_mask_and_folder(root):
    stem = 'aachen/aachen_000001_000019'
    image = root / f'leftImg8bit/train/{stem}_leftImg8bit.png'
    content = image.read_bytes()
    image.unlink()
    assert_raises(ValueError, lambda: prepare(root), '4 found, 5 expected', 'leftImg8bit_trainval')
    image.write_bytes(content)
    labels = mask_path(root, stem, kind='labelIds')
    labels.rename(labels.with_suffix('.gone'))
    assert_raises(FileNotFoundError, lambda: prepare(root), labels, 'gtFine_trainvaltest.zip')
    (root / 'leftImg8bit').rename(root / 'images')
    assert_raises(ValueError, lambda: prepare(root), 'leftImg8bit', 'downloads page')


def test_damaged_labels_are_named(root):
    path = mask_path(root, 'lindau/lindau_000000_000019', 'val', 'labelIds')
    path.write_bytes(data.png(np.full((9, 12), 34, np.uint8)))
    assert_raises(ValueError, lambda: prepare(root), path, 'label id 34')
    path.write_bytes(b'\x89PNG')
    assert_raises(ValueError, lambda: prepare(root), path, 'again')


def test_official_counts():
    assert cityscapes.COUNTS == {'train': 2975, 'val': 500}
