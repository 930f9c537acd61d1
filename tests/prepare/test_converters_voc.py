"""VOC 2012 and SBD, from the original folders to masks and lists."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import original_data as data
import pytest
from mmseg.datasets import PascalVOCDataset
from PIL import Image
from tiny import assert_raises

from mmseg_u2pl.datasets import threads
from mmseg_u2pl.prepare.converters import files, voc


def prepare(root, **sources):
    return voc.prepare_voc(root, counts=data.VOC_COUNTS, **sources)


def mask_of(root, stem):
    with Image.open(root / f'SegmentationClassAug/{stem}.png') as image:
        return image.mode, np.asarray(image)


def stems_in(root):
    return sorted(path.stem for path in (root / 'SegmentationClassAug').glob('[!.]*'))


@pytest.fixture
def root(tmp_path):
    return data.unpacked_voc(tmp_path / 'unpacked')


@pytest.fixture
def sbd(tmp_path):
    data.write_tree(tmp_path, data.sbd_files())
    return tmp_path / 'benchmark_RELEASE/dataset'


def test_folders_become_masks_and_list(root, sbd):
    assert prepare(root, sbd=sbd) == data.VOC_COUNTS
    assert (root / 'ImageSets/Segmentation/train_aug.txt').read_bytes() == data.text(data.TRAIN_AUG)
    assert stems_in(root) == data.TRAIN_AUG
    for stem in data.TRAIN_AUG:
        mode, values = mask_of(root, stem)
        own = stem in data.VOC_TRAIN  # of 2008_000003, in both, VOC's wins
        expected = data.voc_mask(stem) if own else data.sbd_mask(stem)
        assert mode == 'P'
        np.testing.assert_array_equal(values, expected)
    assert not list(root.rglob('.*.part'))


def test_colors_are_those_of_voc(root, sbd):
    prepare(root, sbd=sbd)
    with Image.open(root / 'SegmentationClassAug/2008_000002.png') as image:
        colors = np.asarray(image.convert('RGB'))
    palette = np.array(PascalVOCDataset.METAINFO['palette'])
    np.testing.assert_array_equal(colors, palette[data.sbd_mask('2008_000002')])


def test_mmseg_reads_what_was_written(root, sbd):
    prepare(root, sbd=sbd)
    dataset = PascalVOCDataset(
        data_root=str(root), ann_file='ImageSets/Segmentation/train_aug.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )  # fmt: skip
    for sample, stem in zip(dataset, data.TRAIN_AUG, strict=True):
        mask = data.voc_mask(stem) if stem in data.VOC_TRAIN else data.sbd_mask(stem)
        np.testing.assert_array_equal(sample['gt_seg_map'], mask)


def test_an_interrupted_run_continues(root, sbd, monkeypatch):
    """Ctrl-C at the third file: nothing half-written, no list, and what is done is not redone."""
    written: list[Path] = []

    def interrupted(path, content):
        if len(written) == 2:
            path.with_name(f'.{path.name}.part').write_bytes(content[:10])
            raise KeyboardInterrupt
        written.append(path)
        files.write_atomic(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(voc, 'write_atomic', interrupted)
        patch.setattr(threads, 'ThreadPoolExecutor', one_thread)
        with pytest.raises(KeyboardInterrupt):
            prepare(root, sbd=sbd)
    assert sorted(path.stem for path in written) == stems_in(root)
    assert len(written) == 2
    assert not (root / 'ImageSets/Segmentation/train_aug.txt').exists()
    first = {path: os.stat(path).st_mtime_ns for path in written}
    prepare(root, sbd=sbd)
    assert stems_in(root) == data.TRAIN_AUG
    assert {path: os.stat(path).st_mtime_ns for path in written} == first
    assert not list(root.rglob('.*.part'))


def one_thread():
    return ThreadPoolExecutor(max_workers=1)


def test_run_again_checks_without_the_downloads(root, sbd):
    prepare(root, sbd=sbd)
    shutil.rmtree(sbd)
    assert prepare(root) == data.VOC_COUNTS
    (root / 'SegmentationClassAug/2008_000008.png').unlink()
    assert_raises(FileNotFoundError, lambda: prepare(root), '1 files', '2008_000008.png', 'SBD')


@pytest.mark.parametrize(
    ('missing', 'kind', 'parts'),
    [
        ('ImageSets/Segmentation/train.txt', FileNotFoundError, ['train.txt', 'VOCtrainval']),
        ('JPEGImages/2008_000009.jpg', FileNotFoundError, ['1 files', '2008_000009.jpg']),
        ('SegmentationClass/2007_000033.png', FileNotFoundError, ['1 files', '2007_000033.png']),
    ],
)
def test_missing_file_of_voc(root, sbd, missing, kind, parts):
    (root / missing).unlink()
    assert_raises(kind, lambda: prepare(root, sbd=sbd), *parts, 'VOC2012')
    assert not (root / 'ImageSets/Segmentation/train_aug.txt').exists()


@pytest.mark.parametrize('missing', ['cls/2008_000002.mat', 'val.txt'])
def test_missing_file_of_sbd(root, sbd, missing):
    (sbd / missing).unlink()
    assert_raises(FileNotFoundError, lambda: prepare(root, sbd=sbd), missing, 'benchmark.tgz')


def test_no_sbd_says_where_it_is(root):
    assert_raises(FileNotFoundError, lambda: prepare(root), 'benchmark.tgz', '--sbd')


def test_wrong_counts(root, sbd):
    path = root / 'ImageSets/Segmentation/train.txt'
    path.write_bytes(data.text(data.VOC_TRAIN[:2]))
    assert_raises(ValueError, lambda: prepare(root, sbd=sbd), path, '2 found, 3 expected')
    path.write_bytes(data.text(data.VOC_TRAIN))
    (sbd / 'val.txt').write_bytes(data.text(['2007_000033']))
    assert_raises(ValueError, lambda: prepare(root, sbd=sbd), '5 found, 6 expected')


def test_official_counts():
    assert voc.COUNTS == {'train': 1464, 'val': 1449, 'train_aug': 10_582}


def test_damaged_mat_is_named(root, sbd):
    path = sbd / 'cls/2008_000009.mat'
    path.write_bytes(path.read_bytes()[:200])
    assert_raises(ValueError, lambda: prepare(root, sbd=sbd), path, 'SBD')
    path.write_bytes(b'')
    assert_raises(ValueError, lambda: prepare(root, sbd=sbd), path)
    assert not (root / 'ImageSets/Segmentation/train_aug.txt').exists()


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (data.labels(0, [0, 21]), 'label 21'),
        (data.labels(0, [0, 254]), 'label 254'),
        (data.labels(0, [0, 1])[:, :5], '5x9 pixels'),
    ],
)
def test_wrong_mask_is_named(root, sbd, values, message):
    (sbd / 'cls/2008_000002.mat').write_bytes(data.mat(values))
    path = root / 'SegmentationClassAug/2008_000002.png'
    assert_raises(ValueError, lambda: prepare(root, sbd=sbd), path, message, 'Delete it')
    assert not (root / 'ImageSets/Segmentation/train_aug.txt').exists()


def test_damaged_mask_of_val_is_named(root, sbd):
    path = root / 'SegmentationClass/2008_000007.png'
    path.write_bytes(path.read_bytes()[:40])
    assert_raises(ValueError, lambda: prepare(root, sbd=sbd), path, 'Delete it')
