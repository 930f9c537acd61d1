"""Pipelines that could be cheaper, and the arithmetic of the projection."""

import pytest
import tiny
from mmcv.transforms import Compose
from mmengine.config import Config

from mmseg_u2pl.benchmark.loading import (
    StreamTiming,
    half_share,
    mean_time,
    measure_stream,
    projection,
    streams,
    variants,
)

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
COLOR = dict(type='PhotoMetricDistortion')


def names(transforms):
    return [type(own).__name__ for own in transforms]


def build(*pipeline):
    return list(Compose(pipeline).transforms)


def config(root, **labeled):
    dataset = dict(
        type='SemiDataset',
        labeled=tiny.labeled_config(root, **labeled),
        unlabeled=tiny.unlabeled_config(root),
    )
    return Config(dict(train_dataloader=dict(batch_size=4, dataset=dataset)))


def test_color_work_moves_right_behind_the_crop():
    found = variants(build(*LOAD, COLOR, *tiny.AUGMENT))
    assert list(found) == ['color after the crop']
    assert names(found['color after the crop']) == [
        'LoadImageFromFile', 'LoadAnnotations', 'RandomResize', 'RandomCrop',
        'PhotoMetricDistortion', 'RandomFlip', 'PackSegInputs',
    ]  # fmt: skip


@pytest.mark.parametrize(
    'pipeline',
    [
        (*LOAD, *tiny.AUGMENT),
        (*LOAD, *tiny.AUGMENT[:2], COLOR),  # behind the crop already
        (*LOAD, COLOR),  # nothing is cropped
    ],
)
def test_nothing_to_spare(pipeline):
    assert variants(build(*pipeline)) == {}


def test_an_unlabeled_crop_is_tried_ten_times_for_nothing(data_root, monkeypatch):
    dataset = streams(config(data_root))['unlabeled']
    transforms = dataset.pipeline.transforms
    found = variants(transforms)
    assert list(found) == ['crop without cat_max_ratio']
    assert transforms[3].cat_max_ratio == 0.9
    for pipeline, tries in ((transforms, 10), (found['crop without cat_max_ratio'], 0)):
        maps: list = []
        cut = pipeline[3].crop

        def crop(image, box, cut=cut, maps=maps):
            maps.extend([image] * (image.ndim == 2))
            return cut(image, box)

        monkeypatch.setattr(pipeline[3], 'crop', crop)
        data = dict(dataset.get_data_info(0), seg_fields=[])
        for transform in pipeline:
            data = transform(data)
        assert len(maps) == tries + 1  # the last cut is the one that stays


@pytest.mark.parametrize(
    ('scale', 'ratios', 'share'),
    [
        ((240, 180), (0.75, 1.5), 1 / 3),  # half of the size at ratio 1
        ((240, 180), (0.5, 1.0), 1.0),
        ((480, 360), (0.75, 1.5), 0.0),
        ((240, 360), (0.5, 1.0), 1 / 2),  # the long side decides: three quarters
    ],
)
def test_share_of_scales_that_half_the_size_is_enough_for(scale, ratios, share):
    transforms = build(dict(type='RandomResize', scale=scale, ratio_range=ratios, keep_ratio=True))
    assert half_share(transforms, (360, 480)) == pytest.approx(share)


def test_without_a_random_resize_the_size_stays():
    assert half_share(build(*LOAD), (10, 10)) == 0


def test_a_stream_is_measured_transform_by_transform(data_root):
    cfg = config(data_root, pipeline=[*LOAD, COLOR, *tiny.AUGMENT])
    datasets = streams(cfg)
    assert list(datasets) == ['labeled', 'unlabeled']
    timing = measure_stream('labeled', datasets['labeled'], images=3, rounds=2)
    assert list(timing.transforms) == [
        '1 LoadImageFromFile', '2 LoadAnnotations', '3 PhotoMetricDistortion', '4 RandomResize',
        '5 RandomCrop', '6 RandomFlip', '7 PackSegInputs',
    ]  # fmt: skip
    assert list(timing.variants) == ['color after the crop']
    assert min(timing.decode, timing.half, *timing.transforms.values()) > 0
    assert timing.total == pytest.approx(sum(timing.transforms.values()))


def test_a_pipeline_must_begin_with_the_image(data_root):
    dataset = streams(config(data_root))['labeled']
    dataset.pipeline.transforms.pop(0)
    with pytest.raises(ValueError, match='labeled: the pipeline must begin with LoadImageFromFile'):
        measure_stream('labeled', dataset, 1, 1)


def test_a_supervised_config_has_one_stream(data_root):
    cfg = Config(dict(train_dataloader=dict(dataset=tiny.labeled_config(data_root))))
    assert list(streams(cfg)) == ['labeled']
    with pytest.raises(ValueError, match='no train_dataloader'):
        streams(Config(dict(train_dataloader=None)))


def timing(total):
    return StreamTiming('x', 1.0, {'Load': total / 2, 'Crop': total / 2}, {}, 1.0, 0.0)


def test_a_batch_mixes_the_streams_by_their_ratio():
    assert mean_time([timing(2.0), timing(8.0)], (1, 2)) == pytest.approx(6)
    assert mean_time([timing(2.0)], (1, 1)) == pytest.approx(2)


def test_the_projection_says_who_waits():
    assert 'at most 1600 images/s' in projection(5.0, 8, None)
    assert '16.0 times that, loading is not what a step waits for' in projection(5.0, 8, 100)
    assert '0.8 times that, a step waits' in projection(5.0, 8, 2000)
