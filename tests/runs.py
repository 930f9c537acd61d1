"""Configs of tiny whole runs, built on the repository's own base configs."""

import uuid
from pathlib import Path

import tiny
from mmengine.config import Config
from mmengine.runner import Runner

BASE = Path(__file__).parents[1] / 'configs' / '_base_'
TEST_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


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
