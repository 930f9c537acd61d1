"""Time of a pipeline's steps."""

import pytest
import tiny
from mmengine.config import Config

from mmseg_u2pl.analysis.benchmark.loading import measure_stream, streams


def config(root, unlabeled=True):
    dataset = dict(
        type='SemiDataset',
        labeled=tiny.labeled_config(root),
        unlabeled=tiny.unlabeled_config(root) if unlabeled else None,
    )
    return Config(dict(train_dataloader=dict(batch_size=4, dataset=dataset)))


def test_a_stream_is_measured_transform_by_transform(data_root):
    datasets = streams(config(data_root))
    assert list(datasets) == ['labeled', 'unlabeled']
    times = measure_stream(datasets['labeled'], images=3, rounds=2)
    assert list(times) == [
        '1 LoadImageFromFile', '2 LoadAnnotations', '3 RandomResize', '4 RandomCrop',
        '5 RandomFlip', '6 PackSegInputs',
    ]  # fmt: skip
    assert min(times.values()) > 0


def test_a_config_without_a_semi_dataset_is_refused():
    for settings in (None, dict(dataset=dict(type='BaseSegDataset'))):
        with pytest.raises(ValueError, match='no train_dataloader with a SemiDataset'):
            streams(Config(dict(train_dataloader=settings)))
