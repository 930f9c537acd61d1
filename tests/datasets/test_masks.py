"""LoadMask: every format against values by hand, and each error with its remedy."""

import json

import cv2
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_u2pl.datasets import LoadMask

LABELS = np.array([[0, 1, 2], [2, 255, 1]], dtype=np.uint8)
RED, GREEN, VOID = (200, 0, 0), (0, 200, 0), (255, 255, 255)
COLORS = [RED, GREEN, (0, 0, 200)]


def load(path, reduce_zero_label=False, label_map=None, results=None, **settings):
    info = dict(
        seg_map_path=str(path), seg_fields=[], reduce_zero_label=reduce_zero_label,
        label_map=label_map, **(results or {}),
    )  # fmt: skip
    loaded = LoadMask(**settings)(info)
    assert loaded['seg_fields'] == ['gt_seg_map']
    assert loaded['gt_seg_map'].dtype == np.uint8
    return loaded['gt_seg_map']


def colored(labels=LABELS):
    """Its colors (H, W, 3)."""
    table = np.zeros((256, 3), np.uint8)
    table[:3], table[255] = COLORS, VOID
    return table[labels]


def palette_image(labels=LABELS):
    image = Image.fromarray(labels).convert('L')
    palette = np.zeros((256, 3), np.uint8)
    palette[:3], palette[255] = COLORS, VOID
    image.putpalette(palette.ravel().tolist())
    assert image.mode == 'P'
    return image


# ------------------------------------------------------------------------- class numbers
@pytest.mark.parametrize(
    ('name', 'array'),
    [
        ('8.png', LABELS),
        ('8.bmp', LABELS),
        ('16.png', LABELS.astype(np.uint16)),
        ('16.tif', LABELS.astype(np.uint16)),
        ('32.tif', LABELS.astype(np.int32)),
    ],
)
def test_pixels_are_classes(tmp_path, name, array):
    Image.fromarray(array).save(tmp_path / name)
    assert np.array_equal(load(tmp_path / name), LABELS)


def test_a_palettes_indices_are_classes(tmp_path):
    palette_image().save(tmp_path / 'p.png')
    assert np.array_equal(load(tmp_path / 'p.png'), LABELS)


def test_a_mask_of_single_bits(tmp_path):
    Image.fromarray(LABELS == 2).save(tmp_path / '1.png')
    assert np.array_equal(load(tmp_path / '1.png'), LABELS == 2)


@pytest.mark.parametrize('value', [256, 300, 65535])
def test_a_class_number_beyond_a_byte_does_not_wrap_around(tmp_path, value):
    array = LABELS.astype(np.uint16)
    array[1, 2] = value
    Image.fromarray(array).save(tmp_path / 'm.png')
    tiny.assert_raises(
        ValueError,
        lambda: load(tmp_path / 'm.png'),
        tmp_path / 'm.png',
        f'value {value}',
        '1 pixels',
        '(x=2, y=1)',
        'LoadMask(values=',
    )


def test_a_negative_class_number_is_named(tmp_path):
    Image.fromarray(np.array([[0, -3]], np.int32)).save(tmp_path / 'm.tif')
    tiny.assert_raises(ValueError, lambda: load(tmp_path / 'm.tif'), 'value -3', '(x=1, y=0)')


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
def test_a_color_mask_without_colors_names_the_remedy(tmp_path, mode):
    Image.fromarray(colored()).convert(mode).save(tmp_path / 'm.png')
    tiny.assert_raises(
        ValueError,
        lambda: load(tmp_path / 'm.png'),
        tmp_path / 'm.png',
        f'is a {mode} image',
        'colors=[[r, g, b], ...]',
    )


# --------------------------------------------------------------------------- gray values
@pytest.mark.parametrize(
    'values', [{0: 0, 255: 1}, {'0': 0, '255': 1}, [[0, 0], [255, 1]], ((255, 1), (0, 0))]
)
def test_values_are_mapped(tmp_path, values):
    Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).save(tmp_path / 'm.png')
    assert load(tmp_path / 'm.png', values=values).tolist() == [[0, 1], [1, 0]]


def test_values_of_sixteen_bits_are_mapped(tmp_path):
    Image.fromarray(np.array([[1000, 65535]], np.uint16)).save(tmp_path / 'm.png')
    loaded = load(tmp_path / 'm.png', values={1000: 3, 65535: 255})
    assert loaded.tolist() == [[3, 255]]


def test_values_survive_configs_in_python_and_json():
    config = Config(dict(step=dict(type='LoadMask', values={0: 0, 255: 1})))
    for again in (
        Config.fromstring(config.pretty_text, '.py'),
        Config.fromstring(json.dumps(config.to_dict()), '.json'),
    ):
        assert TRANSFORMS.build(again.step).values == ((0, 0), (255, 1))


def test_an_unknown_value_is_named(tmp_path):
    array = np.zeros((4, 5), np.uint8)
    array[2, 3:], array[3, 0] = 128, 7
    Image.fromarray(array).save(tmp_path / 'm.png')
    tiny.assert_raises(
        ValueError,
        lambda: load(tmp_path / 'm.png', values={0: 0, 255: 1}),
        tmp_path / 'm.png',
        'value 128',
        '2 pixels',
        '(x=3, y=2)',
        '3 of its 20 pixels',
        'values has 0, 255: add it',
    )


# -------------------------------------------------------------------------------- colors
@pytest.mark.parametrize('mode', ['RGB', 'RGBA'])
def test_colors_are_classes(tmp_path, mode):
    image = Image.fromarray(colored()).convert(mode)
    if mode == 'RGBA':
        image.putalpha(Image.fromarray(np.array([[0, 9, 255], [1, 2, 3]], np.uint8)))
    image.save(tmp_path / 'm.png')
    loaded = load(tmp_path / 'm.png', colors=COLORS, ignore_colors=[VOID])
    assert np.array_equal(loaded, LABELS)


def test_a_palettes_colors_count_if_colors_are_given(tmp_path):
    palette_image().save(tmp_path / 'p.png')
    turned = load(tmp_path / 'p.png', colors=COLORS[::-1], ignore_colors=[VOID])
    assert turned.tolist() == [[2, 1, 0], [0, 255, 1]]


def test_a_mask_of_one_gray_is_a_color_too(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / 'm.png')
    assert load(tmp_path / 'm.png', colors=[(255,) * 3, (0,) * 3]).tolist() == [[1, 0]]


@pytest.mark.parametrize('kind', ['RGB', 'P'])
def test_an_unknown_color_is_named(tmp_path, kind):
    path = tmp_path / 'm.png'
    (Image.fromarray(colored()) if kind == 'RGB' else palette_image()).save(path)
    tiny.assert_raises(
        ValueError,
        lambda: load(path, colors=COLORS[:2], ignore_colors=[VOID]),
        path,
        'color [0, 0, 200]',
        '2 pixels',
        '(x=2, y=0)',
        '2 of its 6 pixels',
        'ignore_colors',
        'JPEG',
    )


def test_sixteen_bits_have_no_colors(tmp_path):
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / 'm.png')
    tiny.assert_raises(ValueError, lambda: load(tmp_path / 'm.png', colors=COLORS), 'm.png')


@given(st.data())
def test_colors_invert_a_drawing_of_any_classes(tmp_path_factory, data):
    count = data.draw(st.integers(1, 255))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    codes = rng.choice(1 << 24, count, replace=False)
    colors = np.stack((codes >> 16, codes >> 8 & 255, codes & 255), axis=1)
    labels = rng.integers(0, count, (5, 7))
    path = tmp_path_factory.getbasetemp() / 'any.png'
    Image.fromarray(colors[labels].astype(np.uint8)).save(path)
    assert np.array_equal(load(path, colors=colors.tolist()), labels)


# ---------------------------------------------------------------------- mmseg's own maps
def test_reduce_zero_label_and_label_map_apply_to_the_classes(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / 'i.png')
    Image.fromarray(colored()).save(tmp_path / 'c.png')
    colors = dict(colors=COLORS, ignore_colors=[VOID])
    for name, settings in (('i.png', {}), ('c.png', colors)):
        loaded = load(tmp_path / name, reduce_zero_label=True, **settings)
        assert loaded.tolist() == [[255, 0, 1], [1, 255, 0]]
        loaded = load(tmp_path / name, label_map={0: 1, 1: 255, 2: 0}, **settings)
        assert loaded.tolist() == [[1, 255, 0], [0, 255, 255]]


def test_like_mmsegs_own_step_on_class_numbers(tmp_path):
    labels = np.random.default_rng(0).integers(0, 256, (9, 11), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'm.png'), labels)
    for reduce_zero_label in (False, True):
        for label_map in (None, {0: 2, 2: 255, 7: 0}):
            info: dict = dict(
                seg_map_path=str(tmp_path / 'm.png'), seg_fields=[],
                reduce_zero_label=reduce_zero_label, label_map=label_map,
            )  # fmt: skip
            theirs = TRANSFORMS.build(dict(type='LoadAnnotations'))(info)['gt_seg_map']
            ours = load(tmp_path / 'm.png', reduce_zero_label, label_map)
            assert np.array_equal(ours, theirs)


# ------------------------------------------------------------------------------- the size
def test_a_mask_of_another_size_than_its_image_is_named(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / 'm.png')
    path = tmp_path / 'm.png'
    # the image was resized since: its original size counts
    load(path, results=dict(ori_shape=(2, 3), img=np.zeros((20, 30, 3)), img_path='i.jpg'))
    tiny.assert_raises(
        ValueError,
        lambda: load(path, results=dict(ori_shape=(3, 2), img_path='i.jpg')),
        path,
        'is 3x2 pixels',
        "'i.jpg' 2x3",
    )


# ------------------------------------------------------------------------------- settings
@pytest.mark.parametrize(
    ('settings', 'part'),
    [
        (dict(values={0: 0}, colors=COLORS), 'values for gray masks or colors'),
        (dict(ignore_colors=[VOID]), 'needs colors'),
        (dict(values={}), 'values={}'),
        (dict(values={0: 256}), 'classes 0 ... 255'),
        (dict(values={-1: 0}), 'values are 0 ... 65535'),
        (dict(values=[[0, 0], [0, 1]]), 'a value twice'),
        (dict(values=[0, 255]), '{value: class, ...}'),
        (dict(values={'red': 0}), 'red'),
        (dict(colors=[[0, 0]]), '[0, 0]'),
        (dict(colors=[[0, 0, 256]]), '[0, 0, 256]'),
        (dict(colors=[[0, 0, 0.5]]), '0.5'),
        (dict(colors=['red']), 'red'),
        (dict(colors=COLORS, ignore_colors=[RED]), 'given twice'),
        (dict(colors=[[i % 256, i // 256, 0] for i in range(256)]), '256 colors'),
    ],
)
def test_a_bad_setting_is_named(settings, part):
    tiny.assert_raises(ValueError, lambda: LoadMask(**settings), 'LoadMask', part)


def test_an_image_without_a_mask_passes():
    results = dict(img=np.zeros((2, 3, 3), np.uint8), seg_fields=[])
    assert LoadMask(values={0: 0, 255: 1})(dict(results)).keys() == results.keys()
