"""Reading images, masks and groups for splits; writing lists."""

import hashlib
import json
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg_u2pl.prepare.index_masks import find_images, read_masks
from mmseg_u2pl.prepare.split_files import (
    list_files,
    list_warnings,
    parse_size,
    read_groups,
    read_list,
    summarize,
    write_files,
)


def save(path, values, mode=None, **options):
    """A gray mask, or one of mode P, or a color image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if mode == 'P':
        image.putpalette([255 - i // 3 for i in range(768)])
    image.save(path, **options)
    return path


@pytest.fixture
def folders(tmp_path):
    """Images a, 'x/b ü' and x/c.d, 2 wide and 3 high; masks of the first two."""
    for name in ('a.jpg', 'x/b ü.jpg', 'x/c.d.jpg'):
        save(tmp_path / 'img' / name, np.zeros((3, 2, 3)))
    save(tmp_path / 'ann/a.png', [[0, 0], [2, 255], [0, 0]])
    save(tmp_path / 'ann/x/b ü.PNG', [[1, 1], [1, 1], [2, 2]], mode='P')
    return tmp_path / 'img', tmp_path / 'ann'


@pytest.mark.parametrize(
    ('text', 'size'),
    [('12', 12), ('007', 7), ('1/16', Fraction(1, 16)), ('0.0625', Fraction(1, 16)),
     ('.5', Fraction(1, 2)), ('1.0', Fraction(1)), ('2/2', Fraction(1)), ('1', 1)],
)  # fmt: skip
def test_sizes(text, size):
    parsed = parse_size(text)
    assert parsed == size
    assert type(parsed) is type(size)


@pytest.mark.parametrize(
    'text', ['0', '-1', '1_6', '1e-3', '1/0', '3/2', '0/4', '1.5', '0.0', '', 'a', '½', '1 /2']
)
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match='give a number of images'):
        parse_size(text)


def test_images_are_found_at_any_depth_by_stem(folders):
    (folders[0] / 'x/notes.txt').write_text('no image')
    found = find_images(folders[0])
    assert list(found) == ['a', 'x/b ü', 'x/c.d']
    assert found['x/c.d'] == folders[0] / 'x/c.d.jpg'


def test_folders_that_cannot_be_listed(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no folder .*nowhere'):
        find_images(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='no image found in'):
        find_images(tmp_path)
    save(tmp_path / 'a.png', [[0]])
    save(tmp_path / 'a.JPG', [[0]], format='jpeg')
    with pytest.raises(ValueError, match=r"a\.JPG' and .*a\.png' have one stem"):
        find_images(tmp_path)


def test_masks_are_counted_by_hand(folders):
    masks = read_masks(find_images(folders[0]), folders[1])
    assert masks.stems == ['a', 'x/b ü']
    assert masks.counts.tolist() == [[4, 0, 1], [0, 4, 2]]
    assert masks.counts.dtype == np.int64
    files = [(s, folders[1] / f) for s, f in (('a', 'a.png'), ('x/b ü', 'x/b ü.PNG'))]
    lines = (f'{s} {hashlib.sha256(path.read_bytes()).hexdigest()}\n' for s, path in files)
    assert masks.sha256 == hashlib.sha256(''.join(lines).encode()).hexdigest()


def test_classes_as_told(folders):
    images = find_images(folders[0])
    assert read_masks(images, folders[1], num_classes=5).counts.shape == (2, 5)
    with pytest.raises(ValueError, match=r'a\.png.* holds the label 2, but .* 0 \.\.\. 1,'):
        read_masks(images, folders[1], num_classes=2)


def test_a_mask_of_another_size(folders):
    save(folders[1] / 'a.png', np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r'a\.png.* is 3x2 pixels, .*a\.jpg.* 2x3'):
        read_masks(find_images(folders[0]), folders[1])


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_an_image_is_as_large_as_it_is_when_turned(folders, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    (folders[0] / 'a.jpg').unlink()
    path = save(folders[0] / f'a{suffix}', np.zeros((2, 3, 3)), exif=exif)
    loaded = cv2.imread(str(path))  # as mmcv will load it
    assert loaded is not None
    assert loaded.shape == (3, 2, 3)
    assert read_masks(find_images(folders[0]), folders[1]).stems[0] == 'a'


def test_a_mask_without_image(folders):
    save(folders[1] / 'x/e.png', [[0]])
    with pytest.raises(
        ValueError, match=r'1 masks have no image of their stem, the first is .*e\.png'
    ):
        read_masks(find_images(folders[0]), folders[1])


def test_a_list_of_the_images_with_masks(folders, tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('x/b ü\n\n a\n', encoding='utf-8')
    assert read_list(path, folders[0]) == ['a', 'x/b ü']
    path.write_text('a.jpg\nx/b u\u0308\n', encoding='utf-8')  # the other Unicode form of ü
    assert read_list(path, folders[0]) == ['a', 'x/b ü']
    path.write_text('a\nnowhere\n')
    with pytest.raises(FileNotFoundError, match="line 2: no image 'nowhere'"):
        read_list(path, folders[0])
    path.write_text('\n')
    with pytest.raises(ValueError, match='is empty'):
        read_list(path, folders[0])


@pytest.mark.parametrize('text', ['b\tü 1\na\t2\nother\t2\n', '\ufeffb\tü 1\n\na\t2\n'])
def test_groups_from_a_file(tmp_path, text):
    (tmp_path / 'groups').write_text(text, encoding='utf-8')
    assert read_groups(str(tmp_path / 'groups'), ['a', 'b']) == ['2', 'ü 1']


def test_groups_by_a_regular_expression():
    assert read_groups(r'^(seq\d+)_', ['seq1_a', 'seq12_b']) == ['seq1', 'seq12']
    assert read_groups('_(.)|(x)', ['a_b']) == ['b']


@pytest.mark.parametrize(
    ('source', 'says'),
    [
        ('groups.tsv', r'no such file, and not a regular expression .* has no \(\.\.\.\)'),
        ('(', 'no such file, and not a regular expression'),
        ('^(seq)', "the image 'a' gets no group"),
        ('(x)?', "the image 'a' gets no group"),
    ],
)
def test_expressions_that_give_no_groups(source, says):
    with pytest.raises(ValueError, match=says):
        read_groups(source, ['a'])


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('b\t1\n', "the image 'a' gets no group"),
        ('a\t1\t2\n', 'is not stem<TAB>group'),
        ('a\t1\na\t2\n', "line 2: 'a\\\\t2' is not stem<TAB>group, or gives a stem its second"),
    ],
)
def test_files_that_give_no_groups(tmp_path, text, says):
    (tmp_path / 'groups.tsv').write_text(text)
    with pytest.raises(ValueError, match=says):
        read_groups(str(tmp_path / 'groups.tsv'), ['a'])


def test_what_is_in_a_list(folders):
    masks = read_masks(find_images(folders[0]), folders[1])
    stems = {'1_labeled': ['a'], '1_unlabeled': ['x/b ü', 'x/c.d']}
    summary = summarize(stems, masks, ['sky', 'road', 'car'])
    labeled, unlabeled = summary.values()
    assert labeled['sha256'] == hashlib.sha256(b'a\n').hexdigest()
    assert labeled['class_share'] == {'sky': 0.8, 'road': 0.0, 'car': 0.2}
    assert labeled['classes_missing'] == ['road']
    assert unlabeled['images'] == 2
    assert unlabeled['class_share'] == {'sky': 0, 'road': 0.666667, 'car': 0.333333}
    assert list_warnings(summary) == ['1_labeled: no image has road']
    assert list_warnings(summarize(stems, None, ())) == []


def test_lists_are_not_overwritten_unawares(tmp_path):
    out = tmp_path / 'deep/out'
    stems = {'1_labeled': ['ü', 'x/a b'], '1_unlabeled': []}
    assert write_files(list_files(out, stems, {'b': 'ü', 'a': 1}))
    assert (out / '1_labeled.txt').read_bytes() == 'ü\nx/a b\n'.encode()
    assert (out / '1_unlabeled.txt').read_bytes() == b''
    assert (out / 'provenance.json').read_bytes() == '{\n "a": 1,\n "b": "ü"\n}\n'.encode()
    assert not write_files(list_files(out, stems, {'a': 1, 'b': 'ü'}))
    other = {'1_labeled': ['c'], '2_labeled': ['c']}
    with pytest.raises(FileExistsError, match=r'1_labeled\.txt.* differs: choose another --out'):
        write_files(list_files(out, other, {}))
    assert not (out / '2_labeled.txt').exists()
    assert write_files(list_files(out, other, {}), force=True)
    assert (out / '1_labeled.txt').read_text() == 'c\n'
    assert json.loads((out / 'provenance.json').read_text()) == {}
