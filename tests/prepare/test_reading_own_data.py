"""What is read of images and masks written by hand."""

import cv2
import numpy as np
import pytest
from own_folder import mask, save
from PIL import Image
from tiny import assert_raises

from mmseg_u2pl.prepare.make_config.reading import (
    measure_normalization,
    parse_colors,
    read_images,
    read_own_masks,
)

ROAD, CAR, VOID = (128, 64, 128), (0, 0, 142), (0, 0, 0)


@pytest.fixture
def mine(tmp_path):
    """Five images of three suffixes; the masks are written by each test."""
    for name in ('a.png', 'b.jpg', 'sub/c d.png', 'é.bmp', 'z.JPG'):
        save(tmp_path / 'images' / name, np.full((6, 8, 3), 90))
    return tmp_path


def masks_of(root, arrays, suffix='.png', **how):
    for name, array in zip(('a', 'b', 'sub/c d'), arrays, strict=False):
        save(root / f'masks/{name}{suffix}', array, **how)
    return root / 'masks'


def read(root, classes=('road', 'car'), **how):
    return read_own_masks(read_images(root / 'images').paths, root / 'masks', classes, **how)


# ---------------------------------------------------------------- images
def test_images_of_any_suffix_size_and_mode(tmp_path):
    save(tmp_path / 'wide.jpg', np.zeros((4, 10, 3)))
    save(tmp_path / 'gray.png', np.zeros((4, 6)))
    save(tmp_path / 'x y/deep.png', np.zeros((3, 5)), mode=np.uint16)
    images = read_images(tmp_path)
    assert list(images.paths) == ['gray', 'wide', 'x y/deep']
    assert images.sizes.tolist() == [[6, 4], [10, 4], [5, 3]]
    assert images.deep


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_rgb_images_of_16_bits_are_found(tmp_path, suffix):
    pixels = np.zeros((4, 6, 3), np.uint8)
    assert cv2.imwrite(str(tmp_path / f'8{suffix}'), pixels)
    assert not read_images(tmp_path).deep
    assert cv2.imwrite(str(tmp_path / f'16{suffix}'), pixels.astype(np.uint16))
    assert read_images(tmp_path).deep


def test_names_that_a_list_cannot_give_are_refused(tmp_path):
    for name in ('a.png', 'b.jpg.png'):
        save(tmp_path / name, np.zeros((4, 6)))
    assert list(read_images(tmp_path).paths) == ['a', 'b.jpg']
    save(tmp_path / 'a.png.png', np.zeros((4, 6)))
    assert_raises(ValueError, lambda: read_images(tmp_path), 'a.png.png', 'rename')
    (tmp_path / 'a.png.png').rename(tmp_path / 'c .png')
    assert_raises(ValueError, lambda: read_images(tmp_path), 'c .png', 'blank', 'rename')


def test_an_unreadable_or_float_image_is_named(mine):
    (mine / 'images/broken.png').write_bytes(b'no image')
    assert_raises(ValueError, lambda: read_images(mine / 'images'), 'cannot read', 'broken.png')
    (mine / 'images/broken.png').unlink()
    Image.fromarray(np.zeros((6, 8), dtype=np.float32)).save(mine / 'images/heat.tif')
    assert_raises(
        ValueError, lambda: read_images(mine / 'images'), 'heat.tif', 'floating-point', '8 bits'
    )


def test_normalization_of_16_bit_images_is_measured_as_they_are_loaded(tmp_path):
    # half the pixels 256 * 10, half 256 * 30: 10 and 30 after loading
    save(tmp_path / 'a.png', np.resize([2560, 7680], (4, 4)), mode=np.uint16)
    save(tmp_path / 'b.png', np.resize([2560, 7680], (2, 4)), mode=np.uint16)
    mean, std = measure_normalization(list(read_images(tmp_path).paths.values()))
    assert mean == [20] * 3
    assert std == [10] * 3


def test_16_bit_images_that_lose_everything_are_refused(tmp_path):
    save(tmp_path / 'a.png', np.resize([3, 200], (4, 4)), mode=np.uint16)
    paths = list(read_images(tmp_path).paths.values())
    assert_raises(ValueError, lambda: measure_normalization(paths), 'stretch them to 8 bits')


# ---------------------------------------------------------------- masks
def test_index_masks(mine):
    masks_of(mine, [mask(0, 1), mask(1, 255)])
    own = read(mine)
    assert (own.kind, own.loading) == ('index', {})
    assert own.masks.stems == ['a', 'b']
    assert own.masks.counts.tolist() == [[24, 24], [0, 24]]


def test_palette_masks_hold_class_numbers(mine):
    masks_of(mine, [mask(0, 1)], palette=[CAR, ROAD])
    own = read(mine)
    assert (own.kind, own.loading) == ('index', {})
    assert own.masks.counts.tolist() == [[24, 24]]


def test_two_classes_as_0_and_255(mine):
    masks_of(mine, [mask(0, 255, 255, 255), mask(0)])
    own = read(mine)
    assert own.kind == 'gray values'
    assert own.loading == dict(values=[[0, 0], [255, 1]])
    assert own.why.startswith('0 → road, 255 → car')
    assert own.masks.counts.tolist() == [[12, 36], [48, 0]]
    assert_raises(ValueError, lambda: read(mine, 'abc'), '0 and 255 alone', 'names 3')


def test_255_stays_ignored_where_both_classes_are_there(mine):
    masks_of(mine, [mask(0, 255), mask(1)])
    assert read(mine).loading == {}


def test_values_of_the_classes(mine):
    masks_of(mine, [mask(50, 200, 255), mask(200)])
    own = read(mine, values=[200, 50])
    assert own.loading == dict(values=[[200, 0], [50, 1], [255, 255]])
    assert own.masks.counts.tolist() == [[16, 16], [48, 0]]
    assert_raises(ValueError, lambda: read(mine, values=[200]), '--values 200', '2 different')
    assert_raises(ValueError, lambda: read(mine, values=[0, 200]), 'a.png', 'value 50 in 16')


def test_a_value_outside_the_classes_is_named(mine):
    masks_of(mine, [mask(0, 1), mask(0, 2)])
    assert_raises(ValueError, lambda: read(mine), 'b.png', 'value 2 in 24', '--classes')
    # a JPEG mask holds many values near edges
    rng = np.random.default_rng(0)
    save(mine / 'masks/b.jpg', rng.choice([0, 255], (6, 8)))
    (mine / 'masks/b.png').unlink()
    assert_raises(ValueError, lambda: read(mine), 'b.jpg', 'JPEG', 'PNG')


def rgb(*colors):
    return np.resize(np.array(colors, dtype=np.uint8), (6, 8, 3))


def test_rgb_masks(mine):
    masks_of(mine, [rgb(ROAD, CAR), rgb(CAR, CAR, VOID, CAR)])
    colors = parse_colors(['car=#00008E', 'road=#804080', 'ignore=#000000'], ['road', 'car'])
    own = read(mine, colors=colors)
    assert own.kind == 'colors'
    assert own.loading == dict(colors=[list(ROAD), list(CAR)], ignore_colors=[list(VOID)])
    assert own.masks.counts.tolist() == [[24, 24], [0, 36]]
    twice = parse_colors(['road=#000001', 'car=#000001'], ['road', 'car'])
    assert_raises(ValueError, lambda: read(mine, colors=twice), '[0, 0, 1] is given twice')
    few = parse_colors(['road=#804080', 'car=#00008e'], ['road', 'car'])
    assert_raises(ValueError, lambda: read(mine, colors=few), 'b.png', '[0, 0, 0]', '12 pixels')


def test_colors_of_rgb_masks_are_listed_ready_to_paste(mine):
    masks_of(mine, [rgb(ROAD, ROAD, ROAD, CAR), rgb(ROAD)])
    with pytest.raises(ValueError, match='2 colors found') as caught:
        read(mine)
    first, *lines = str(caught.value).splitlines()
    assert 'a.png' in first
    assert lines == [
        'NAME=#804080  # 87.50% of the pixels',
        'NAME=#00008e  # 12.50% of the pixels',
    ]
    filled = mine / 'colors.txt'
    filled.write_text('\n'.join(lines).replace('NAME', 'road', 1).replace('NAME', 'car'))
    colors = parse_colors([str(filled)], ['road', 'car'])
    assert colors == dict(colors=[list(ROAD), list(CAR)])


@pytest.mark.parametrize(
    ('texts', 'says'),
    [
        (['road'], "'road' is neither NAME=#rrggbb"),
        (['road=#80408'], 'neither'),
        (['tree=#000001'], "'tree=#000001' is neither"),
        (['tree=#000001'], 'one of --classes road, car'),
        (['road=#000001', 'road=#000002', 'car=#000003'], '2 colors for road'),
        (['road=#000001'], '0 colors for car'),
    ],
)
def test_wrong_colors_are_named(texts, says):
    assert_raises(ValueError, lambda: parse_colors(texts, ['road', 'car']), says)


def test_a_line_of_a_colors_file_is_named(tmp_path):
    path = tmp_path / 'colors.txt'
    path.write_text('# mine\nroad=#000001\n\nhouse=#1\n')
    assert_raises(ValueError, lambda: parse_colors([str(path)], ['road']), 'house=#1')


def test_masks_of_one_kind_size_and_with_images(mine):
    masks_of(mine, [mask(0, 1), rgb(ROAD)])
    assert_raises(ValueError, lambda: read(mine), 'b.png', 'RGB image, not one of class numbers')
    masks_of(mine, [rgb(ROAD), rgb(ROAD)[:3]])
    colors = parse_colors(['road=#804080', 'car=#00008e'], ['road', 'car'])
    assert_raises(ValueError, lambda: read(mine, colors=colors), 'b.png', '8x3', '8x6')
    save(mine / 'masks/b.png', rgb(ROAD))
    save(mine / 'masks/stranger.png', rgb(ROAD))
    assert_raises(ValueError, lambda: read(mine, colors=colors), 'stranger.png', 'no image')


def test_photographs_in_the_place_of_masks_are_told(mine):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3))
    masks_of(mine, [noise])
    assert_raises(
        ValueError, lambda: read(mine), 'as photographs have', 'IMAGES MASKS in this order'
    )
