"""Images without masks, from folders and lists."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmseg_u2pl.datasets import AddValidityMap, UnlabeledDataset


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images at three depths, one of each suffix, among other files."""
    root = tmp_path_factory.mktemp('images')
    names = ['b.png', 'a.JPG', 'x/c.jpeg', 'x/y/d.tif', 'e.bmp', 'x/f.WebP', 'x/g.with.dots.png']
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(Path(name).suffix.lower(), np.full((2, 3, 3), i, np.uint8))[1]
        (root / name).write_bytes(encoded.tobytes())
    for name in ('notes.txt', 'x/mask.npy', 'jpg'):
        (root / name).write_text('no image')
    return root


def found(folder, **settings):
    dataset = UnlabeledDataset(
        data_root=str(folder), data_prefix=dict(img_path=''), pipeline=[], **settings
    )
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [Path(info['img_path']).relative_to(folder).as_posix() for info in infos]


def test_a_folder_is_searched_to_its_depth_in_any_spelling_and_sorted(folder):
    assert found(folder) == [
        'a.JPG',
        'b.png',
        'e.bmp',
        'x/c.jpeg',
        'x/f.WebP',
        'x/g.with.dots.png',
        'x/y/d.tif',
    ]


def test_a_list_names_images_with_or_without_suffix(folder, tmp_path):
    listed = tmp_path / 'list.txt'
    listed.write_text('x/g.with.dots\n\n  b \nx/y/d.tif\na.JPG\n')
    names = found(folder, ann_file=str(listed), img_suffix='.png')
    assert names == ['x/g.with.dots.png', 'b.png', 'x/y/d.tif', 'a.JPG']  # the list's order


def test_a_list_is_found_below_the_data_root(folder):
    (folder / 'list.txt').write_text('b')
    assert found(folder, ann_file='list.txt', img_suffix='.png') == ['b.png']
    (folder / 'list.txt').unlink()


def test_a_subfolder_as_prefix(folder):
    dataset = UnlabeledDataset(data_root=str(folder), data_prefix=dict(img_path='x/y'), pipeline=[])
    assert dataset.get_data_info(0)['img_path'] == str(folder / 'x' / 'y' / 'd.tif')


def test_samples_load_with_mmsegs_transforms(folder):
    load = [dict(type='LoadImageFromFile'), dict(type='AddValidityMap')]
    dataset = UnlabeledDataset(
        data_root=str(folder), data_prefix=dict(img_path=''), pipeline=[*load]
    )
    sample = dataset[2]  # e.bmp, the fifth written
    assert (sample['img'] == 4).all()
    assert np.array_equal(sample['gt_seg_map'], np.zeros((2, 3), np.uint8))
    assert sample['seg_fields'] == ['gt_seg_map']


def test_the_map_follows_the_image_and_never_reads_a_file():
    results = dict(img=np.ones((4, 7, 3)), seg_fields=[])
    results = AddValidityMap()(results)
    assert results['gt_seg_map'].shape == (4, 7)
    assert results['gt_seg_map'].dtype == np.uint8
    assert not results['gt_seg_map'].any()
