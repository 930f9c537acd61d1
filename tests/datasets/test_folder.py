"""Images and masks of a user's own folders: matching, lists, and what is wrong with them."""

import errno
import os
import time
import unicodedata

import cv2
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmseg_u2pl.datasets import FolderDataset, SemiDataset, UnlabeledDataset
from mmseg_u2pl.datasets.files import (
    image_names,
    images_by_stem,
    listed_images,
    numbered_lines,
    stem_of,
)

PREFIX = dict(img_path='images', seg_map_path='masks')
META = dict(classes=('background', 'crack'))
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadMask')]
# image file, mask file or None; with the images' formats and depths
FILES = {
    'a.jpg': 'a.png',
    'B 2.PNG': 'B 2.tif',
    'Straße_北.png': 'Straße_北.PNG',
    'sub/deep/c.d.jpeg': 'sub/deep/c.d.bmp',
    'gray.webp': 'gray.png',
    'sixteen.TIF': 'sixteen.png',
    'e.bmp': None,
    'sub/f.tiff': None,
}
MATCHED = [name for name, mask in FILES.items() if mask]


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(path.suffix.lower(), array)[1]
    path.write_bytes(encoded.tobytes())


@pytest.fixture
def root(tmp_path):
    """12×16 images of all formats, 0/1 masks of most of them."""
    rng = np.random.default_rng(0)
    for image, mask in FILES.items():
        array: np.ndarray = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        if image == 'sixteen.TIF':
            array = np.arange(192, dtype=np.uint16).reshape(12, 16) * 300
        if image == 'gray.webp':
            array[...] = array[..., :1]
        write(tmp_path / 'images' / image, array)
        if mask:
            write(tmp_path / 'masks' / mask, rng.integers(0, 2, (12, 16), dtype=np.uint8))
    return tmp_path


def folder_dataset(root, **changes):
    settings = dict(data_root=str(root), data_prefix=PREFIX, metainfo=META, pipeline=[])
    return FolderDataset(**{**settings, **changes})


def names(dataset, root, key='img_path', folder='images'):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [os.path.relpath(info[key], root / folder) for info in infos]


def write_list(root, *lines):
    (root / 'list.txt').write_text('\n'.join(lines), encoding='utf-8')
    return root / 'list.txt'


# ------------------------------------------------------------------------------ matching
def test_every_image_with_a_mask_whatever_their_suffixes(root):
    dataset = folder_dataset(root)
    assert sorted(names(dataset, root)) == sorted(MATCHED)
    masks = names(dataset, root, 'seg_map_path', 'masks')
    assert dict(zip(names(dataset, root), masks, strict=True)) == {n: FILES[n] for n in MATCHED}


def test_a_list_gives_the_order_with_or_without_suffix(root):
    write_list(root, 'Straße_北', '', '  B 2.PNG \r', './sub//deep/c.d', 'a')
    dataset = folder_dataset(root, ann_file='list.txt')
    expected = ['Straße_北.png', 'B 2.PNG', 'sub/deep/c.d.jpeg', 'a.jpg']
    assert names(dataset, root) == expected


def test_a_list_may_begin_with_a_byte_order_mark(root):
    (root / 'list.txt').write_bytes('\ufeffa\n'.encode())
    assert names(folder_dataset(root, ann_file='list.txt'), root) == ['a.jpg']


def test_lines_end_in_any_systems_way_and_names_may_hold_other_breaks(tmp_path):
    (tmp_path / 'list.txt').write_bytes('a\u2028b\r\n\n c\x0cd \re'.encode())
    assert list(numbered_lines(tmp_path / 'list.txt')) == [(1, 'a\u2028b'), (3, 'c\x0cd'), (4, 'e')]


def test_a_list_tells_names_and_their_lines(tmp_path):
    (tmp_path / 'list.txt').write_text('b\n\n./x//a.png\n')
    found = listed_images(tmp_path / 'list.txt', tmp_path, img_suffix='.jpg')
    assert list(found.items()) == [('b.jpg', 1), ('x/a.png', 3)]


def test_both_spellings_of_accents_are_one(root):
    spellings = [unicodedata.normalize(form, 'Köln') for form in ('NFC', 'NFD')]
    assert spellings[0] != spellings[1]
    write(root / 'images' / f'{spellings[1]}.png', np.zeros((2, 2, 3), np.uint8))
    write(root / 'masks' / f'{spellings[0]}.png', np.zeros((2, 2), np.uint8))
    write_list(root, spellings[0], 'a')
    found = names(folder_dataset(root, ann_file='list.txt'), root)
    assert found == [f'{spellings[1]}.png', 'a.jpg']


def test_hidden_files_are_no_images(root):
    for name in ('._a.jpg', '.ipynb_checkpoints/x.png', 'sub/.hidden.png'):
        (root / 'images' / name).parent.mkdir(exist_ok=True)
        (root / 'images' / name).write_text('no image')
    assert sorted(image_names(root / 'images')) == sorted(FILES)


def test_names_are_sorted_folder_by_folder(tmp_path):
    for name in ('b.png', 'a-1/x.png', 'a/z.png', 'a.png', 'a/b/c.png'):
        write(tmp_path / name, np.zeros((2, 2), np.uint8))
    expected = ['a/b/c.png', 'a/z.png', 'a-1/x.png', 'a.png', 'b.png']
    assert image_names(tmp_path) == expected
    assert list(images_by_stem(tmp_path)) == ['a/b/c', 'a/z', 'a-1/x', 'a', 'b']


@pytest.mark.parametrize('target', ['.', '..', 'deep', 'deep/er'])
def test_a_folder_that_a_link_repeats_is_named(target, tmp_path):
    """mmengine would follow a link to its parent 40 times: 6 images are 246."""
    root = tmp_path / 'images'
    write(root / 'deep/er/a.png', np.zeros((4, 4), np.uint8))
    (root / 'link').symlink_to((root / target).resolve())
    tiny.assert_raises(
        ValueError, lambda: image_names(root), 'one folder, by a link', f'{root}/', 'link'
    )
    (root / 'link').unlink()
    write(tmp_path / 'elsewhere/b.png', np.zeros((4, 4), np.uint8))
    (root / 'link').symlink_to(tmp_path / 'elsewhere')
    assert image_names(root) == ['deep/er/a.png', 'link/b.png']


def test_a_folder_that_cannot_be_read_is_not_skipped(tmp_path, monkeypatch):
    for name in ('a', 'closed'):
        write(tmp_path / name / 'a.png', np.zeros((4, 4), np.uint8))
    scandir = os.scandir

    def closed(path):  # permissions do not stop root
        if str(path).endswith('closed'):
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', closed)
    tiny.assert_raises(PermissionError, lambda: image_names(tmp_path), tmp_path / 'closed')


@given(st.text('aä.北 -_/', max_size=12), st.sampled_from(['.jpg', '.PNG', '.tiff']))
def test_a_stem_is_a_name_without_its_suffix(stem, suffix):
    assert stem_of(stem + suffix) == unicodedata.normalize('NFC', stem)


# --------------------------------------------------------------------------- end to end
def test_all_formats_load_as_three_channels_of_bytes(root):
    unlabeled = dict(
        type='UnlabeledDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images'),
        without='masks',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='AddValidityMap')],
    )
    labeled = dict(
        type='FolderDataset', data_root=str(root), data_prefix=PREFIX, metainfo=META, pipeline=LOAD
    )
    dataset = SemiDataset(labeled, unlabeled)
    assert dataset.lengths == (6, 2)
    by_name = {}
    for index in range(8):
        sample = dataset[index]
        assert sample['img'].shape == (12, 16, 3)
        assert sample['img'].dtype == np.uint8
        assert sample['gt_seg_map'].shape == (12, 16)
        assert sample['gt_seg_map'].dtype == np.uint8
        by_name[os.path.basename(sample['img_path'])] = sample
    # 16 bits keep their upper byte, they do not wrap around
    sixteen = by_name['sixteen.TIF']['img']
    expected = np.arange(192).reshape(12, 16) * 300 // 256
    assert all(np.array_equal(sixteen[..., channel], expected) for channel in range(3))
    gray = by_name['gray.webp']['img'].astype(int)
    assert np.ptp(gray, axis=2).max() <= 2  # WebP has colors alone
    for name, mask in (('B 2.PNG', 'B 2.tif'), ('c.d.jpeg', 'sub/deep/c.d.bmp')):
        with Image.open(root / 'masks' / mask) as image:
            assert np.array_equal(by_name[name]['gt_seg_map'], np.asarray(image))
    assert {'e.bmp', 'f.tiff'} == {name for name, s in by_name.items() if s['stream'] == 'unsup'}


def test_it_serves_as_a_test_set(root):
    dataset = folder_dataset(root, test_mode=True, pipeline=[*LOAD, dict(type='PackSegInputs')])
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 12, 16)
    assert sample['data_samples'].gt_sem_seg.data.shape == (1, 12, 16)


# -------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ('line', 'kind', 'parts'),
    [
        ('nowhere', FileNotFoundError, ["no image 'nowhere'"]),
        ('a.png', FileNotFoundError, ["no image 'a.png'", "named like 'a.jpg'"]),
        ('A', FileNotFoundError, ["no image 'A'"]),
        ('../images/a', ValueError, ["'../images/a' leaves the image folder"]),
        ('sub/../../x', ValueError, ['leaves the image folder', 'write a path inside it']),
        ('/a', ValueError, ["'/a' leaves the image folder"]),
        ('B 2', ValueError, ["'B 2' is the image of line 1 again", 'remove one']),
        ('./B 2.PNG', ValueError, ['is the image of line 1 again']),
        ('e', FileNotFoundError, ["the image 'e.bmp' has no mask 'e'", 'take the line away']),
    ],
)
def test_a_bad_line_is_named(root, line, kind, parts):
    path = write_list(root, 'B 2.PNG', '', line)
    tiny.assert_raises(
        kind, lambda: folder_dataset(root, ann_file='list.txt'), path, 'line 3: ', *parts
    )


def test_of_several_bad_lines_the_first_is_named(root):
    write_list(root, 'a', 'x', 'a', 'y', '../z')
    tiny.assert_raises(
        FileNotFoundError,
        lambda: folder_dataset(root, ann_file='list.txt'),
        "line 2: no image 'x'",
    )


def test_two_images_of_a_stem_are_named_and_a_suffix_chooses(root):
    write(root / 'images' / 'a.png', np.zeros((12, 16, 3), np.uint8))
    tiny.assert_raises(
        ValueError, lambda: folder_dataset(root), "'a.jpg' and 'a.png'", 'one stem', 'keep one'
    )
    path = write_list(root, 'B 2', 'a')
    tiny.assert_raises(
        ValueError,
        lambda: folder_dataset(root, ann_file='list.txt'),
        path,
        "line 2: 'a' is the stem of 'a.jpg' and 'a.png'",
        'write the suffix too',
    )
    write_list(root, 'a.png')
    assert names(folder_dataset(root, ann_file='list.txt'), root) == ['a.png']
    write_list(root, 'a.png', 'a.jpg')
    tiny.assert_raises(
        ValueError, lambda: folder_dataset(root, ann_file='list.txt'), 'line 2', 'so one mask'
    )


@pytest.mark.parametrize('lines', [None, ['B 2', 'a']])
def test_two_masks_of_an_image_are_named(root, lines):
    write(root / 'masks' / 'a.bmp', np.zeros((12, 16), np.uint8))
    ann_file = write_list(root, *lines).name if lines else ''
    tiny.assert_raises(
        ValueError,
        lambda: folder_dataset(root, ann_file=ann_file),
        *(['line 2'] if lines else []),
        "'a.bmp' and 'a.png'",
        "both the mask of the image 'a.jpg'",
        'a separate folder',
    )


def test_masks_of_other_names_are_told_by_example(root):
    for path in sorted((root / 'masks').rglob('*.*')):
        path.rename(path.with_name(f'{path.stem}_mask{path.suffix}'))
    tiny.assert_raises(
        FileNotFoundError, lambda: folder_dataset(root), '_mask.', 'B 2.PNG', 'BaseSegDataset'
    )


def test_missing_folders_and_lists_are_named(root):
    for prefix in (dict(PREFIX, img_path='no'), dict(PREFIX, seg_map_path='no')):
        tiny.assert_raises(
            FileNotFoundError, lambda p=prefix: folder_dataset(root, data_prefix=p), root / 'no'
        )
    tiny.assert_raises(
        FileNotFoundError, lambda: folder_dataset(root, ann_file='no.txt'), root / 'no.txt'
    )
    (root / 'empty').mkdir()
    tiny.assert_raises(
        ValueError,
        lambda: folder_dataset(root, data_prefix=dict(PREFIX, seg_map_path='empty')),
        root / 'empty',
        '.webp',
    )


@pytest.mark.parametrize(
    ('content', 'part'), [(b' \n\n', 'is empty'), ('Stra\xdfe'.encode('latin-1'), 'not UTF-8')]
)
def test_an_empty_or_foreign_list_is_named(root, content, part):
    (root / 'list.txt').write_bytes(content)
    tiny.assert_raises(
        ValueError, lambda: folder_dataset(root, ann_file='list.txt'), root / 'list.txt', part
    )


def test_settings_that_nothing_would_read_are_named(root):
    tiny.assert_raises(TypeError, lambda: folder_dataset(root, img_suffix='.jpg'), 'img_suffix')
    tiny.assert_raises(
        ValueError,
        lambda: folder_dataset(root, data_prefix=dict(img_path='images')),
        'seg_map_path',
        'UnlabeledDataset',
    )


# ------------------------------------------------------------------------------- scaling
def test_time_grows_with_the_list_not_with_its_square(tmp_path):
    """5000 lines among 5000 files; looking at the folder for each takes 10 s and more."""
    for number in range(5000):
        (tmp_path / f'{number}.jpg').touch()
    lines = [str(number) for number in range(5000)]
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    start = time.process_time()
    found = listed_images(tmp_path / 'list.txt', tmp_path)
    assert list(found.items()) == [(f'{line}.jpg', n) for n, line in enumerate(lines, 1)]
    assert len(UnlabeledDataset(data_prefix=dict(img_path=str(tmp_path)))) == 5000
    assert time.process_time() - start < 5
