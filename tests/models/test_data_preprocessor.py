"""Streams are stacked apart; without streams it is mmseg's own preprocessor."""

from typing import Any

import pytest
import tiny
import torch
from mmseg.models import SegDataPreProcessor

from mmseg_u2pl.models import SemiDataPreprocessor
from mmseg_u2pl.models.data_preprocessor import Grid

SETTINGS: dict[str, Any] = dict(
    mean=[10.0, 20.0, 30.0],
    std=[2.0, 4.0, 5.0],
    bgr_to_rgb=True,
    size=(4, 6),
    pad_val=0,
    seg_pad_val=255,
)


def data(*streams, size=(3, 5)):
    """One constant image a stream name, value 10·(position + 1), labels = position."""
    count = max(len(streams), 2)
    images = [torch.full((3, *size), 10 * (i + 1), dtype=torch.uint8) for i in range(count)]
    labels = [torch.full(size, i) for i in range(count)]
    result = dict(inputs=images, data_samples=[tiny.sample(label) for label in labels])
    return {**result, 'stream': list(streams)} if streams else result


def test_each_stream_is_stacked_alone_in_the_order_of_the_batch():
    batch = SemiDataPreprocessor(**SETTINGS)(data('sup', 'unsup', 'unsup', 'sup'), training=True)
    assert set(batch['inputs']) == set(batch['data_samples']) == {'sup', 'unsup'}
    # (x − 10) / 2 in the first channel: images 0 and 3 hold 10 and 40, images 1 and 2 20 and 30
    assert batch['inputs']['sup'][:, 0, 0, 0].tolist() == [0, 15]
    assert batch['inputs']['unsup'][:, 0, 0, 0].tolist() == [5, 10]
    labels = {
        name: [int(sample.gt_sem_seg.data[0, 0, 0]) for sample in samples]
        for name, samples in batch['data_samples'].items()
    }
    assert labels == dict(sup=[0, 3], unsup=[1, 2])


def test_pads_are_zero_in_images_and_255_in_maps():
    batch = SemiDataPreprocessor(**SETTINGS)(data('sup', 'unsup'), training=True)
    for name in ('sup', 'unsup'):
        image = batch['inputs'][name][0]
        label = batch['data_samples'][name][0].gt_sem_seg.data[0]
        assert image.shape == (3, 4, 6)
        assert not image[:, 3].any()
        assert not image[:, :, 5].any()
        assert (label[3] == 255).all()
        assert (label[:, 5] == 255).all()
        assert (label[:3, :5] < 255).all()


@pytest.mark.parametrize('training', [True, False])
def test_without_streams_it_equals_mmsegs(training):
    ours, theirs = SemiDataPreprocessor(**SETTINGS), SegDataPreProcessor(**SETTINGS)
    one, other = ours(data(), training=training), theirs(data(), training=training)
    assert torch.equal(one['inputs'], other['inputs'])
    for own, their in zip(one['data_samples'], other['data_samples'], strict=True):
        assert torch.equal(own.gt_sem_seg.data, their.gt_sem_seg.data)
        assert own.metainfo == their.metainfo


def test_streams_do_not_matter_in_validation():
    ours, theirs = SemiDataPreprocessor(**SETTINGS), SegDataPreProcessor(**SETTINGS)
    one = ours(data('sup', 'unsup'))['inputs']
    assert torch.equal(one, theirs(data())['inputs'])


def test_a_stream_alone_equals_mmsegs_batch():
    one = SemiDataPreprocessor(**SETTINGS)(data('sup', 'sup'), training=True)
    other = SegDataPreProcessor(**SETTINGS)(data(), training=True)
    assert torch.equal(one['inputs']['sup'], other['inputs'])


@pytest.mark.parametrize('channels_last', [True, False])
def test_channels_last_changes_the_layout_and_no_value(channels_last):
    ours = SemiDataPreprocessor(**SETTINGS, channels_last=channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for training in (True, False):
        batch = ours(data('sup', 'unsup', 'sup'), training=training)['inputs']
        images = batch['sup'] if training else batch
        expected = SemiDataPreprocessor(**SETTINGS)(data('sup', 'unsup', 'sup'), training)
        expected = expected['inputs']['sup'] if training else expected['inputs']
        assert images.is_contiguous(memory_format=layout)
        assert torch.equal(images, expected)


def test_pads_that_would_be_learnt_as_a_class_are_refused():
    with pytest.raises(ValueError, match=r'seg_pad_val=0: .* 255'):
        SemiDataPreprocessor(**{**SETTINGS, 'seg_pad_val': 0})


@pytest.mark.parametrize(
    ('stride', 'offset', 'length', 'fit'),
    [
        (32, 0, 1, 32),
        (32, 0, 32, 32),
        (32, 0, 33, 64),
        (32, 0, 180, 192),
        (16, 0, 512, 512),
        (8, 1, 1, 9),  # the smallest side is one step
        (8, 1, 9, 9),
        (8, 1, 10, 17),
        (8, 1, 512, 513),
        (8, 1, 513, 513),  # 64·8 + 1
        (8, 1, 514, 521),
    ],
)
def test_the_grid_by_hand(stride, offset, length, fit):
    grid = Grid(stride, offset)
    assert grid.fit(length) == fit


def test_the_nearest_sides_are_named():
    assert Grid(32).nearest(100) == '96 or 128'
    assert Grid(8, 1).nearest(512) == '505 or 513'
    assert Grid(32).nearest(20) == '32'
    assert Grid(8, 1).nearest(5) == '9'


@pytest.mark.parametrize(
    ('grid', 'size', 'message'),
    [
        (
            dict(stride=32),
            (144, 192),
            r'size=\(144, 192\): the height 144 is not k·32,.* use 128 or 160 ',
        ),
        (dict(stride=8, offset=1), (513, 512), r'the width 512 is not k·8 \+ 1,.* use 505 or 513 '),
    ],
)
def test_crops_off_the_grid_are_refused_with_the_nearest(grid, size, message):
    with pytest.raises(ValueError, match=message):
        SemiDataPreprocessor(**{**SETTINGS, 'size': size}, grid=grid)


def test_the_grid_together_with_test_cfg_is_refused():
    with pytest.raises(ValueError, match=r"grid=\{'stride': 2\} and test_cfg=.*remove test_cfg"):
        SemiDataPreprocessor(**SETTINGS, grid=dict(stride=2), test_cfg=dict(size_divisor=2))


@pytest.mark.parametrize(
    ('grid', 'size', 'padded'),
    [
        (dict(stride=2), (4, 6), (4, 6)),
        (dict(stride=2), (3, 5), (4, 6)),
        (dict(stride=2), (5, 7), (6, 8)),
        (dict(stride=2), (1, 1), (2, 2)),  # smaller than the crop
        (dict(stride=3, offset=1), (4, 6), (4, 7)),
    ],
)
def test_test_images_are_padded_at_the_right_and_bottom(grid, size, padded):
    settings = {**SETTINGS, 'size': None, 'pad_val': 7}
    batch = SemiDataPreprocessor(**settings, grid=grid)(data(size=size))
    plain = SegDataPreProcessor(**settings)(data(size=size))['inputs']
    height, width = size
    assert batch['inputs'].shape == (2, 3, *padded)
    assert torch.equal(batch['inputs'][..., :height, :width], plain)
    assert (batch['inputs'][..., height:, :] == 7).all()
    assert (batch['inputs'][..., width:] == 7).all()
    for sample in batch['data_samples']:
        assert sample.img_padding_size == (0, padded[1] - width, 0, padded[0] - height)
        assert sample.pad_shape == padded
        assert sample.img_shape == size
        assert sample.gt_sem_seg.data.shape[1:] == size


def test_images_without_data_samples_are_not_padded():
    batch = SemiDataPreprocessor(**SETTINGS, grid=dict(stride=2))(dict(inputs=data()['inputs']))
    assert batch['inputs'].shape == (2, 3, 3, 5)


@pytest.mark.parametrize('streams', [(), ('sup', 'unsup')])
def test_the_grid_does_not_change_training(streams):
    plain = SemiDataPreprocessor(**SETTINGS)(data(*streams), training=True)['inputs']
    padded = SemiDataPreprocessor(**SETTINGS, grid=dict(stride=2))
    padded = padded(data(*streams), training=True)['inputs']
    names = streams or [...]
    assert all(torch.equal(padded[name], plain[name]) for name in names)
