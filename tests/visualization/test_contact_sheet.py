"""The contact sheet of what the network gets in training."""

import mmcv
import numpy as np
import pytest
import tiny
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS

from mmseg_u2pl.functional import apply_mix
from mmseg_u2pl.visualization import SheetRow, draw_contact_sheet, training_rows
from mmseg_u2pl.visualization.contact_sheet import STRIPES, describe, display_images, paint

PALETTE = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
NAMES = ('red', 'green', 'blue')
SIZE = (36, 32)  # crops are 32×32, so every one gets four rows of pads
PREPROCESSOR = dict(
    type='SemiDataPreprocessor', mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0],
    bgr_to_rgb=True, size=SIZE,
)  # fmt: skip


def model(**settings):
    return MODELS.build(tiny.u2pl_config(data_preprocessor=PREPROCESSOR, **settings))


@pytest.fixture
def batch(data_root):
    """Two labeled and three unlabeled crops."""
    dataset = tiny.semi_dataset(data_root)
    return pseudo_collate([dataset[(index, 3)] for index in (0, 1, 4, 5, 6)])


@pytest.mark.parametrize('changes', [{}, {'bgr_to_rgb': False}, {'mean': None, 'std': None}])
def test_the_images_shown_are_those_before_the_preprocessor(changes):
    preprocessor = MODELS.build({**PREPROCESSOR, **changes})
    bgr = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    data = dict(inputs=[bgr], data_samples=[tiny.sample(torch.zeros(SIZE))])
    shown = display_images(preprocessor(data, True)['inputs'], preprocessor)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[0], bgr.flip(0).permute(1, 2, 0))


def test_paint_covers_classes_and_stripes_what_counts_nowhere():
    image = np.full((6, 6, 3), 100, np.uint8)
    labels = np.zeros((6, 6), int)
    labels[3:] = 255
    pads = np.zeros((6, 6), bool)
    pads[:, 5] = True
    painted = paint(image, labels, pads, PALETTE)
    assert painted[0, 0].tolist() == [160, 40, 40]  # 0.4 · 100 + 0.6 · (200, 0, 0)
    for part in (painted[3:], painted[:, 5]):
        assert set(np.unique(part)) == set(STRIPES)
    assert (image == 100).all()
    np.testing.assert_array_equal(paint(image, None, None, PALETTE), image)


@pytest.mark.parametrize('mix', ['cutmix', 'classmix', 'cutout'])
def test_the_mixed_row_is_the_models_own_mix(batch, mix):
    network = model(mix=mix, mix_prob=0.01)
    rows = training_rows(network, batch)
    assert network.mix_prob == 0.01
    source, mixed = rows[0 if mix == 'classmix' else 2], rows[3]
    assert mixed.title.startswith(mix)
    assert mixed.title.endswith('1% of steps')
    assert mixed.outlines is not None
    assert mixed.ignored is not None
    assert mixed.outlines.any()
    if mix == 'cutout':
        assert mixed.names == source.names
        assert mixed.ignored[mixed.outlines].all()
        changed = (mixed.images != source.images).any(3)
        assert not (changed & ~mixed.outlines).any()
        return
    assert mixed.names[0] == f'{source.names[0]} ← {source.names[1]}'
    pixels = torch.from_numpy(source.images).permute(0, 3, 1, 2)
    expected = apply_mix(torch.from_numpy(mixed.outlines), pixels)[0].permute(0, 2, 3, 1)
    np.testing.assert_array_equal(mixed.images, expected)


@pytest.mark.parametrize(
    ('settings', 'last'),
    [
        (dict(mix=None, photometric=True), ['strong view']),
        (dict(mix_prob=0.0), []),
        (dict(photometric=True), ['cutmix\n50% of steps', 'strong view']),
    ],
)
def test_the_rows_follow_the_method(batch, settings, last):
    rows = training_rows(model(**settings), batch)
    assert [row.title for row in rows] == ['labeled', 'labeled, mask', 'unlabeled', *last]
    assert [row.names for row in rows[:3]] == [['l0', 'l1'], ['l0', 'l1'], ['u0', 'u1', 'u2']]


def test_pads_are_marked(batch):
    _, masks, unlabeled = training_rows(model(mix=None), batch)
    assert masks.labels is not None
    assert unlabeled.ignored is not None
    assert (masks.labels[:, 32:] == 255).all()
    assert unlabeled.ignored[:, 32:].all()
    assert not unlabeled.ignored.all()
    assert (unlabeled.images[:, 32:] == PREPROCESSOR['mean']).all()  # 0 after normalisation


def test_numbers_of_a_row():
    images = np.zeros((1, 2, 5, 3), np.uint8)
    labels = np.array([[[2, 2, 2, 2, 2], [2, 0, 0, 255, 255]]])
    text = describe(SheetRow('labeled', images, ['a'], labels=labels), NAMES)
    assert text.splitlines() == [
        'labeled: 1 images of 2×5 px, 20.0% ignored or pads',
        '  classes: blue 75.0%, red 25.0%',
        '  absent: green',
    ]
    row = SheetRow('unlabeled', images, ['a'], ignored=labels == 0)
    assert describe(row, NAMES) == 'unlabeled: 1 images of 2×5 px, 20.0% pads'


def test_the_sheet_shows_masks_stripes_and_outlines(tmp_path):
    black = np.zeros((2, 24, 32, 3), np.uint8)
    labels = np.zeros((2, 24, 32), int)
    labels[:, :, 16:] = 1
    box = np.zeros((1, 24, 32), bool)
    box[:, :12, :16] = True  # touches two borders
    rows = [
        SheetRow('masks', black, ['one', 'two'], labels=labels),
        SheetRow('mix', black[:1], ['three'], ignored=box, outlines=box),
    ]
    path = draw_contact_sheet(rows, NAMES, PALETTE, tmp_path / 'new' / 'a.png', 'a title')
    picture = mmcv.imread(path, channel_order='rgb').astype(int)

    def share(color):
        return (np.abs(picture - color).sum(2) < 12).mean()

    assert share((120, 0, 0)) == pytest.approx(share((0, 120, 0)), rel=0.05)
    # two half images of class red, three quarters of one left black, a quarter in two grays
    assert share((120, 0, 0)) > 0.1
    assert share((0, 0, 0)) > 0.6 * share((120, 0, 0))
    assert all(share((gray,) * 3) > 0.05 * share((120, 0, 0)) for gray in STRIPES)
    assert share((255, 47, 214)) > 0.001


def test_with_many_classes_the_legend_names_those_that_occur(tmp_path):
    names = [f'class {index}' for index in range(200)]
    palette = [(index, 0, 200) for index in range(200)]
    images, labels = np.zeros((1, 24, 32, 3), np.uint8), np.full((1, 24, 32), 150)
    row = SheetRow('masks', images, ['one'], labels=labels)
    path = draw_contact_sheet([row], names, palette, tmp_path / 'a.png')
    assert mmcv.imread(path).shape[0] < 600  # pixels
