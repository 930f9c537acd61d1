"""Configs of tiny whole runs, built on the repository's own base configs."""

import uuid
from pathlib import Path
from typing import NamedTuple

import tiny
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

BASE = Path(__file__).parents[1] / 'configs' / '_base_'
TEST_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

OFFLINE = {
    'model.backbone.pretrained': False,
    **{f'{part}_dataloader.num_workers': 0 for part in ('train', 'val', 'test')},
    **{f'{part}_dataloader.persistent_workers': False for part in ('train', 'val', 'test')},
}
"""What a shipped config needs for a short run: no download, no processes that load data."""


def words(options):
    """Options as on a command line."""
    return [f'{name}={value}' for name, value in options.items()]


def settings(root, max_iters):
    """What a tiny run adds to the base configs."""
    val = dict(
        batch_size=1,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=tiny.labeled_config(
            root,
            data_prefix=dict(img_path='images/val', seg_map_path='masks/val'),
            ann_file='',
            pipeline=TEST_PIPELINE,
        ),
    )
    preprocessor = dict(
        type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True,
        size=tiny.CROP, pad_val=0, seg_pad_val=255,
    )  # fmt: skip
    return dict(
        model=tiny.u2pl_config(data_preprocessor=preprocessor, warmup_iters=1, mix=tiny.always()),
        train_dataloader=dict(
            batch_size=4,
            sampler=dict(type='SemiSampler', ratio=(1, 1)),
            dataset=dict(
                type='SemiDataset',
                labeled=tiny.labeled_config(root),
                unlabeled=tiny.unlabeled_config(root),
            ),
        ),
        val_dataloader=val,
        test_dataloader=val,
        test_pipeline=TEST_PIPELINE,
        val_evaluator=dict(type='ClassIoUMetric', iou_metrics=['mIoU']),
        test_evaluator=dict(type='ClassIoUMetric', iou_metrics=['mIoU']),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[dict(type='PolyLR', power=0.9, end=max_iters, by_epoch=False)],
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=3),
        default_hooks=dict(
            checkpoint=dict(
                type='SafeCheckpointHook',
                by_epoch=False,
                interval=3,
                max_keep_ckpts=-1,
                save_best='teacher/mIoU',
            ),
            logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
        ),
    )


def config(root, work_dir, max_iters=6, **changes):
    """A tiny run of U²PL; ``changes`` are merged in, dotted keys too (``{'a.b': 1}``)."""
    work_dir.mkdir(parents=True, exist_ok=True)
    path = work_dir / 'tiny.py'
    path.write_text(f'_base_ = {str(BASE / "default_runtime.py")!r}\n')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(settings(root, max_iters))
    name = uuid.uuid4().hex  # mmengine keeps loggers and visualizers by name
    changes = {'experiment_name': name, 'visualizer.name': name, **changes}
    cfg.merge_from_dict(dict(work_dir=str(work_dir), **changes))
    return cfg


def runner(root, work_dir, max_iters=6, **changes):
    return Runner.from_cfg(config(root, work_dir, max_iters, **changes))


class Trained(NamedTuple):
    """A finished training, and what each of its validations reported."""

    runner: Runner
    folder: Path
    metrics: dict[int, dict[str, float]]


class Collect(Hook):
    """What each validation reported, by iteration."""

    def __init__(self):
        self.metrics = {}

    def after_val_epoch(self, runner, metrics=None):
        self.metrics[runner.iter] = dict(metrics)


def train(runner):
    """Train to the end."""
    collect = Collect()
    runner.register_hook(collect)
    runner.train()
    return Trained(runner, Path(runner.work_dir), collect.metrics)


def load(path):
    """A checkpoint."""
    return torch.load(path, map_location='cpu', weights_only=False)


def differing(one, other):
    """Names of tensors that are not equal bit for bit."""
    assert set(one) == set(other)
    return [name for name in one if not torch.equal(one[name], other[name])]


def log_of(work_dir):
    """What the runs of a work dir logged."""
    return '\n'.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))
