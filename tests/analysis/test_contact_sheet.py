"""The contact sheet of what the network gets in training."""

import itertools

import cross
import mmcv
import numpy as np
import pytest
import tiny
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS

from mmseg_u2pl.contact_sheet import (
    STRIPES,
    UNPAINTED,
    SheetRow,
    contact_sheet,
    describe,
    display_images,
    draw_contact_sheet,
    ending,
    paint,
    training_rows,
)
from mmseg_u2pl.functional import apply_mix, mix_pairs

PALETTE = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
NAMES = ('red', 'green', 'blue')
SIZE = (36, 32)  # crops are 32×32, so every one gets four rows of padding
PREPROCESSOR = dict(
    type='SemiDataPreprocessor', mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0],
    bgr_to_rgb=True, size=SIZE,
)  # fmt: skip


def model(kind='U2PL', **settings):
    make = cross.config if kind in ('CrossPseudo', 'RRN') else tiny.semi_config
    return MODELS.build(make(kind, data_preprocessor=PREPROCESSOR, **settings)).eval()


@pytest.fixture
def batch(data_root):
    """Two labeled and four unlabeled crops."""
    dataset = tiny.semi_dataset(data_root)
    return pseudo_collate([dataset[(index, 3)] for index in (0, 1, 4, 5, 6, 7)])


@pytest.mark.parametrize('changes', [{}, {'bgr_to_rgb': False}, {'mean': None, 'std': None}])
def test_the_images_shown_are_those_before_the_preprocessor(changes):
    preprocessor = MODELS.build({**PREPROCESSOR, **changes})
    bgr = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    data = dict(inputs=[bgr], data_samples=[tiny.sample(torch.zeros(SIZE))])
    shown = display_images(preprocessor(data, True)['inputs'], preprocessor)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[0], bgr.flip(0).permute(1, 2, 0))


def test_names_of_files_are_no_formulas(tmp_path):
    row = SheetRow('images', [np.zeros((8, 8, 3), np.uint8)], names=['cost_$5_$6'])
    draw_contact_sheet([row], NAMES, PALETTE, tmp_path / 'sheet.png')


def test_paint_covers_classes_and_stripes_what_counts_nowhere():
    image = np.full((6, 6, 3), 100, np.uint8)
    labels = np.zeros((6, 6), int)
    labels[3:] = 255
    labels[0, 1:] = UNPAINTED
    painted = paint(image, labels, PALETTE)
    assert painted[0, 0].tolist() == [160, 40, 40]  # 0.4 · 100 + 0.6 · (200, 0, 0)
    np.testing.assert_array_equal(painted[0, 1:], image[0, 1:])
    assert set(np.unique(painted[3:])) == set(STRIPES)
    assert (image == 100).all()


@pytest.mark.parametrize('mix', ['CutMix', 'ClassMix'])
def test_the_mixed_row_is_the_mix_of_the_method(batch, mix):
    rows = training_rows(model(mix=dict(type=mix, prob=0.01)), batch)
    source, mixed = rows[2], rows[3]
    assert mixed.title.startswith(mix)
    assert mixed.outlines is not None
    assert np.asarray(mixed.outlines).any()
    pixels, labels = torch.from_numpy(source.images), torch.from_numpy(source.labels)
    masks = torch.from_numpy(mixed.outlines)
    expected, padding = apply_mix(masks, pixels.permute(0, 3, 1, 2), labels)
    np.testing.assert_array_equal(mixed.images, expected.permute(0, 2, 3, 1))
    np.testing.assert_array_equal(mixed.labels, padding)


def test_pairs_are_drawn_under_the_names_of_their_first_images(batch):
    rows = training_rows(model('CrossPseudo'), batch)
    source, mixed = rows[2], rows[3]
    assert mixed.names == source.names[:2]
    masks = torch.from_numpy(mixed.outlines)
    expected = mix_pairs(masks, torch.from_numpy(source.images).permute(0, 3, 1, 2))
    np.testing.assert_array_equal(mixed.images, expected.permute(0, 2, 3, 1))


STRONG = dict(type='PhotometricView')


@pytest.mark.parametrize(
    ('kind', 'settings', 'last'),
    [
        ('U2PL', dict(mix=None, view=STRONG), ['strong view']),
        ('U2PL', dict(mix=dict(type='CutMix', prob=0.0)), []),
        ('U2PL', dict(view=STRONG), ['CutMix\n50%', 'strong view']),
        ('FixMatch', dict(view=STRONG), ['CutMix\n100%', 'strong view']),
        ('MeanTeacher', {}, []),
        ('UniMatchV2', dict(view=STRONG), ['CutMix\n100%', 'strong view']),
        ('RRN', {}, ['CutMix of pairs']),
    ],
)
def test_the_rows_follow_the_method(batch, kind, settings, last):
    rows = training_rows(model(kind, **settings), batch)
    assert [row.title for row in rows] == ['labeled', 'labeled, mask', 'unlabeled', *last]
    assert rows[0].names == rows[1].names == ['l0', 'l1']
    assert rows[2].names == ['u0', 'u1', 'u2', 'u3']


@pytest.mark.parametrize(
    ('kind', 'networks'), [('U2PL', ['teacher']), ('CrossPseudo', ['network1', 'network2'])]
)
def test_pseudo_labels_are_drawn_where_they_are_kept(batch, kind, networks):
    method = model(kind)
    method.before_iter(5, 10)
    rows = training_rows(method, batch, labels=True)[3 : 3 + len(networks)]
    data = method.data_preprocessor(batch, True)
    streams = method.stream_batch(data['inputs'], data['data_samples'])
    for row, name in zip(rows, networks, strict=True):
        assert row.labels is not None
        label, keep, _ = method.pseudo_labels(streams.images_u, streams.valid)[name]
        share = (keep.sum() / streams.valid.sum()).item()
        assert row.title == f'pseudo-labels\n{name}: {share:.0%} kept'
        np.testing.assert_array_equal(np.asarray(row.labels)[keep], label[keep])
        assert (np.asarray(row.labels)[~keep] == 255).all()  # on padding, too
        assert not keep[:, 32:].any()
        assert row.stripes == 'unreliable'


def test_padding_is_marked(batch):
    _, masks, unlabeled = training_rows(model(mix=None), batch)
    assert masks.labels is not None
    assert unlabeled.labels is not None
    assert (np.asarray(masks.labels)[:, 32:] == 255).all()
    assert (np.asarray(unlabeled.labels)[:, 32:] == 255).all()
    assert (np.asarray(unlabeled.labels)[:, :32] == UNPAINTED).any()
    assert (
        np.asarray(unlabeled.images)[:, 32:] == PREPROCESSOR['mean']
    ).all()  # 0 after normalization


def test_numbers_of_a_row():
    images = np.zeros((1, 2, 5, 3), np.uint8)
    labels = np.array([[[2, 2, 2, 2, 2], [2, 0, 0, 255, 255]]])
    text = describe(SheetRow('labeled', images, ['a'], labels=labels))
    assert text == 'labeled: 1 images of 2×5 px, 20.0% padding or ignored'
    text = describe(SheetRow('view\n50%', images, ['a']))
    assert text == 'view, 50%: 1 images of 2×5 px, 0.0% padding or ignored'


def test_a_long_name_shows_that_it_was_cut():
    assert ending('street', 6) == 'street'
    assert ending('in_the_street', 6) == '…treet'


def test_the_sheet_shows_masks_stripes_and_outlines(tmp_path):
    black = np.zeros((2, 24, 32, 3), np.uint8)
    labels = np.zeros((2, 24, 32), int)
    labels[:, :, 16:] = 1
    box = np.zeros((1, 24, 32), bool)
    box[:, :12, :16] = True  # touches two borders
    rows = [
        SheetRow('masks', black, ['one', 'two'], labels=labels),
        SheetRow('mix', black[:1], ['three'], labels=np.where(box, 255, UNPAINTED), outlines=box),
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
    assert share((255, 47, 214)) > 0.0005  # the two edges inside the image


def test_the_legend_names_the_classes_that_occur(tmp_path):
    names = [f'class {index}' for index in range(200)]
    palette = [(index, 0, 200) for index in range(200)]
    images, labels = np.zeros((1, 24, 32, 3), np.uint8), np.full((1, 24, 32), 150)
    row = SheetRow('masks', images, ['one'], labels=labels)
    path = draw_contact_sheet([row], names, palette, tmp_path / 'a.png')
    assert mmcv.imread(path).shape[0] < 600  # pixels


def test_the_legend_says_what_stripes_mean():
    image, labels = np.zeros((1, 8, 8, 3), np.uint8), np.full((1, 8, 8), 255)
    row = SheetRow('masks', image, ['one'], labels=labels)
    for rows, says in (
        ([row], 'padding or ignored'),
        ([row, row._replace(stripes='unreliable')], 'padding or ignored, unreliable'),
    ):
        (legend,) = contact_sheet(rows, ['a'], [(0, 0, 1)]).legends
        assert [text.get_text() for text in legend.get_texts()] == [says]


@pytest.mark.parametrize(
    ('height', 'width', 'count'), [(24, 32, 150), (60, 1000, 2), (2400, 40, 2)]
)
def test_everything_of_a_sheet_is_on_it(height, width, count):
    """Names of classes and of rows, whatever the shape of the images and the number of names."""
    names = [f'unlabeled construction vehicle {index}' for index in range(count)]
    palette = [(index, 100, 200) for index in range(count)]
    image = np.zeros((1, height, width, 3), np.uint8)
    labels = np.arange(height * width).reshape(1, height, width) % count
    rows = [SheetRow(f'unlabeled, strong view {i}', image, ['one'], labels) for i in range(3)]
    figure = contact_sheet(rows, names, palette)
    FigureCanvasAgg(figure).draw()
    whole = figure.bbox
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1
    axes = figure.axes
    assert box.y1 <= min(axis.get_window_extent().y0 for axis in axes)
    titles = [axis.yaxis.label.get_window_extent() for axis in axes]
    for above, below in itertools.pairwise(titles):
        assert below.y1 <= above.y0
    assert whole.height < 40 * figure.dpi
