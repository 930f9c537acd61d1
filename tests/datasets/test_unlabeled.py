"""Images without masks, from folders and lists."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny

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


def test_names_are_bytes_whatever_the_setting(folder):
    assert found(folder, serialize_data=False) == found(folder)


def test_a_list_names_images_with_or_without_suffix(folder, tmp_path):
    listed = tmp_path / 'list.txt'
    listed.write_text('x/g.with.dots\n\n  b \nx/y/d.tif\na.JPG\n')
    names = found(folder, ann_file=str(listed), img_suffix='.png')
    assert names == ['x/g.with.dots.png', 'b.png', 'x/y/d.tif', 'a.JPG']  # the list's order


def test_a_list_finds_any_suffix_in_the_folder(folder, tmp_path):
    listed = tmp_path / 'list.txt'
    listed.write_text('\ufeffe\nx/y/d\na\n\nx/g.with.dots\n', encoding='utf-8')
    expected = ['e.bmp', 'x/y/d.tif', 'a.JPG', 'x/g.with.dots.png']
    assert found(folder, ann_file=str(listed)) == expected


def test_a_given_suffix_saves_the_walk(folder, tmp_path, monkeypatch):
    listed = tmp_path / 'list.txt'
    listed.write_text('x/f\nb')
    monkeypatch.setattr('os.walk', None)  # calling it fails
    names = found(folder, ann_file=str(listed), img_suffix='_left.png')
    assert names == ['x/f_left.png', 'b_left.png']


def test_an_image_is_its_name_and_nothing_that_could_be_a_label(folder):
    dataset = UnlabeledDataset(data_root=str(folder), data_prefix=dict(img_path='x'))
    names = ['c.jpeg', 'f.WebP', 'g.with.dots.png', 'y/d.tif']
    for index, position in ((0, 0), (1, 1), (3, 3), (-1, 3), (-4, 0)):
        assert dataset.get_data_info(index) == dict(
            img_path=str(folder / 'x' / names[position]),
            label_map=None,
            reduce_zero_label=False,
            seg_fields=[],
            sample_idx=position,
        )
    for index in (4, -5):
        with pytest.raises(IndexError):
            dataset.get_data_info(index)
    part = dataset.get_subset([2, 0])
    assert [Path(part.get_data_info(i)['img_path']).name for i in range(len(part))] == [
        'g.with.dots.png',
        'c.jpeg',
    ]


def test_nothing_but_names_is_kept_of_a_list(tmp_path):
    names = ['街/1.jpg', 'b\udcff.png', 'ü' * 90 + '.jpg']  # the second is no UTF-8 on disk
    (tmp_path / '街').mkdir()
    for name in names:
        (tmp_path / name).touch()
    dataset = UnlabeledDataset(data_prefix=dict(img_path=str(tmp_path)))
    assert dataset.data_bytes.tobytes() == 'b\udcff.png{}街/1.jpg'.format('ü' * 90 + '.jpg').encode(
        'utf-8', 'surrogatepass'
    )
    assert dataset.data_address.tolist() == [8, 192, 201]
    assert not dataset.data_list
    infos = [dataset.get_data_info(i) for i in range(3)]
    assert sorted(info['img_path'] for info in infos) == sorted(f'{tmp_path}/{n}' for n in names)


@pytest.mark.parametrize('img_suffix', [None, '.png'])
@pytest.mark.parametrize(
    ('line', 'part'),
    [
        ('../b', "'../b' leaves the image folder"),
        ('/b.png', "'/b.png' leaves the image folder"),
        ('b.png', "'b.png' is the image of line 1 again"),
    ],
)
def test_a_bad_line_is_named(folder, tmp_path, img_suffix, line, part):
    listed = tmp_path / 'list.txt'
    listed.write_text(f'b\n{line}\n')
    tiny.assert_raises(
        ValueError,
        lambda: found(folder, ann_file=str(listed), img_suffix=img_suffix),
        listed,
        'line 2',
        part,
    )


def test_a_line_without_image_is_named(folder, tmp_path):
    listed = tmp_path / 'list.txt'
    listed.write_text('b\nx/nowhere\nb.jpg\n')
    tiny.assert_raises(
        FileNotFoundError,
        lambda: found(folder, ann_file=str(listed)),
        listed,
        "line 2: no image 'x/nowhere'",
    )


# ------------------------------------------------------------------------------- without
def test_every_image_without_a_mask(folder, tmp_path):
    for name in ('a.png', 'x/c.PNG', 'x/g.with.dots.tif', 'of_another_split.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('never opened')
    expected = ['b.png', 'e.bmp', 'x/f.WebP', 'x/y/d.tif']
    assert found(folder, without=str(tmp_path)) == expected


def test_leaving_out_all_images_is_refused(folder):
    tiny.assert_raises(ValueError, lambda: found(folder, without=str(folder)), 'all 7')
    tiny.assert_raises(
        FileNotFoundError, lambda: found(folder, without='nowhere'), folder / 'nowhere'
    )


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
