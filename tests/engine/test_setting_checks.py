"""Settings that used to run on silently, or to fail after the first step, are refused before it."""

from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from mmengine.hooks import Hook

from mmseg_u2pl.engine import setting_checks
from mmseg_u2pl.models import PhotometricView

SCHEDULE = dict(type='PolyLR', power=0.9, end=4)  # mmengine's default is by_epoch=True
NORMALIZE = dict(type='Normalize', mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True)
NO_MEAN = {'model.data_preprocessor.mean': None, 'model.data_preprocessor.std': None}
ONE_MEAN = {
    'model.data_preprocessor.mean': [120.0],
    'model.data_preprocessor.std': [60.0],
    'model.data_preprocessor.bgr_to_rgb': False,
}
HEAD = 'model.decode_head'
WATCH = dict(type='EarlyStoppingHook', monitor='mIoU', rule='greater')


class Steps(Hook):
    """Counts iterations that began."""

    count = 0

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.count += 1


def refused(root, folder, *says, **changes):
    """A run stops before its first step, and says why."""
    steps = Steps()
    runner = runs.runner(root, folder, 4, **changes)
    runner.register_hook(steps)
    tiny.assert_raises(ValueError, runner.train, *says)
    assert steps.count == 0


def pipelines(root, first=None, last=()):
    """Both training pipelines with another first step and more steps before the last."""
    changes = {}
    for part, config in (('labeled', tiny.labeled_config), ('unlabeled', tiny.unlabeled_config)):
        start, *steps, pack = config(root)['pipeline']
        key = f'train_dataloader.dataset.{part}.pipeline'
        changes[key] = [first or start, *steps, *last, pack]
    return changes


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        (
            {'default_hooks.logger.log_metric_by_epoch': True},
            ('every validation as one at iteration 0', 'set log_metric_by_epoch=False'),
        ),
        (
            {'optim_wrapper.accumulative_counts': 2},
            ('model.warmup_iters=1 ends between', 'accumulative_counts=2', 'such as 2'),
        ),
        (
            {'optim_wrapper.accumulative_counts': 2, 'model.warmup_iters': 0},
            ('train_cfg.val_interval=3 ends between', 'such as 4'),
        ),
        (
            {
                'optim_wrapper.accumulative_counts': 3,
                'default_hooks.checkpoint.interval': 4,
                'model.warmup_iters': 0,
            },
            ('default_hooks.checkpoint.interval=4 ends between', 'such as 6'),
        ),
        (
            {'model.data_preprocessor.size': (16, 32)},
            ('the pipeline makes images of', 'data_preprocessor.size=(16, 32)'),
        ),
        (
            {'train_cfg': dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1)},
            ('EpochBasedTrainLoop would not end', "type='IterBasedTrainLoop'"),
        ),
        ({'param_scheduler': [SCHEDULE]}, ('PolyLR has by_epoch=True', 'set by_epoch=False')),
        (
            {'default_hooks.checkpoint.by_epoch': True},
            ('SafeCheckpointHook has by_epoch=True', 'nothing before the end'),
        ),
        (
            {'default_hooks.checkpoint.type': 'CheckpointHook'},
            ('CheckpointHook deletes the last checkpoint', "set type='SafeCheckpointHook'"),
        ),
        ({f'{HEAD}.ignore_index': 0}, ('decode_head.ignore_index=0', 'values={0: 255, ...}')),
        (
            {
                'model.auxiliary_head': dict(
                    tiny.networks(aux=True)['auxiliary_head'], ignore_index=254
                )
            },
            ('auxiliary_head.ignore_index=254', 'padding is 255'),
        ),
        ({'val_evaluator.ignore_index': 0}, ('val_evaluator.ignore_index=0', 'remove the setting')),
        (
            {f'{HEAD}.loss_decode.class_weight': [1.0, 1.0, 2.0]},
            ('decode_head.loss_decode', 'class_weight', 'avg_non_ignore=False'),
        ),
        (
            {
                f'{HEAD}.loss_decode.class_weight': [1.0, 2.0],
                f'{HEAD}.loss_decode.avg_non_ignore': False,
            },
            ('class_weight=[1.0, 2.0]', 'give 3'),
        ),
        (
            {'default_hooks.checkpoint.save_best': 'mIoU'},
            ("SafeCheckpointHook: 'mIoU'", 'use student/mIoU or teacher/mIoU'),
        ),
        (
            {'default_hooks.checkpoint.save_best': 'teacher/miou'},
            ("'teacher/miou' is not a metric", 'use student/mIoU or teacher/mIoU'),
        ),
        (
            {'default_hooks.checkpoint.save_best': 'teacher/mDice'},
            ("'teacher/mDice' is not a metric", 'teacher/aAcc', 'teacher/mIoU'),
        ),
        (
            {'custom_hooks': [WATCH]},
            ("EarlyStoppingHook: 'mIoU'", 'use student/mIoU or teacher/mIoU'),
        ),
        (
            {'val_dataloader.dataset.metainfo': dict(classes=('green', 'red', 'blue'))},
            ('val_dataloader.dataset', 'green, red, blue', 'red, green, blue', 'metainfo'),
        ),
        (
            {'test_dataloader.dataset.reduce_zero_label': True},
            ('test_dataloader.dataset.reduce_zero_label=True', 'have False', 'set both alike'),
        ),
        (
            {'model.warmup_iters': 4},
            ('model.warmup_iters=4', 'has 4 iterations', 'model.warmup_iters=N'),
        ),
        (
            {'train_dataloader.dataset.labeled.metainfo': None},
            ('no class names', 'metainfo=dict(classes'),
        ),
    ],
    ids=lambda value: '' if isinstance(value, tuple) else ' '.join(value),
)
def test_a_setting_is_named_with_its_remedy(changes, says, data_root, tmp_path):
    changes = {'default_hooks.checkpoint.save_best': None, **changes}
    refused(data_root, tmp_path, *says, **changes)


@pytest.mark.parametrize('best', ['auto', 'teacher/mAcc', 'student/mIoU', 'teacher/IoU.red'])
def test_a_metric_of_the_validation_is_kept(best, data_root, tmp_path):
    changes = {'default_hooks.checkpoint.save_best': best, 'train_cfg.val_interval': 1}
    changes |= {'model.warmup_iters': 0}
    runs.runner(data_root, tmp_path, 1, **changes).train()
    name = 'teacher/aAcc' if best == 'auto' else best
    (kept,) = tmp_path.glob('best_*.pth')
    assert kept.name == f'best_{name.replace("/", "_")}_iter_1.pth'


def test_a_metric_with_a_prefix_has_it_in_its_name(data_root, tmp_path):
    changes = {'val_evaluator.prefix': 'val', 'model.warmup_iters': 0, 'train_cfg.val_interval': 1}
    best = 'default_hooks.checkpoint.save_best'
    says = "'teacher/mIoU' is not a metric", 'use student/val/mIoU or teacher/val/mIoU'
    refused(data_root, tmp_path / 'one', *says, **changes, **{best: 'teacher/mIoU'})
    changes[best] = 'teacher/val/mIoU'
    runs.runner(data_root, tmp_path / 'two', 1, **changes).train()
    assert (tmp_path / 'two/best_teacher_val_mIoU_iter_1.pth').is_file()


def test_a_schedule_that_looks_at_validations_runs(data_root, tmp_path):
    plateau = dict(type='ReduceOnPlateauLR', monitor='teacher/mIoU', rule='greater', patience=0)
    changes = {'param_scheduler': [plateau], 'train_cfg.val_interval': 1, 'model.warmup_iters': 0}
    runner = runs.runner(data_root, tmp_path, 4, **changes)
    runner.train()
    assert runner.param_schedulers[0].last_step > 0


# --------------------------------------------------------------------------------- images
@pytest.mark.parametrize('changes', [{}, NO_MEAN], ids=['twice', 'by the pipeline alone'])
def test_images_that_the_pipeline_normalizes_are_refused(changes, data_root, tmp_path):
    """With ``mean=None`` the strong view would clip them to [0, 1]: 39 % zeros."""
    says = ('train_dataloader.dataset.labeled', 'the pipeline makes values -', 'Take Normalize out')
    refused(data_root, tmp_path, *says, **changes, **pipelines(data_root, last=[NORMALIZE]))


def test_without_means_there_is_a_warning(data_root, tmp_path):
    with pytest.warns(UserWarning, match='no mean and std: images reach the network as 0 ... 255'):
        runs.runner(data_root, tmp_path, 1, **NO_MEAN, **{'model.warmup_iters': 0}).train()


@pytest.mark.parametrize('channels', [1, 4])
def test_other_channels_than_the_networks_are_refused_and_its_own_work(
    channels, own_root, tmp_path
):
    for path in (own_root / 'images').rglob('*.png'):
        image = np.asarray(cv2.imread(str(path)))
        image = image[..., 0] if channels == 1 else np.dstack([image, image[..., :1]])
        cv2.imwrite(str(path), image)
    load = dict(type='LoadImageFromFile', color_type='unchanged')
    changes: dict = pipelines(own_root, first=load)
    for part in ('val', 'test'):
        changes[f'{part}_dataloader.dataset.pipeline'] = [load, *runs.TEST_PIPELINE[1:]]
    says: tuple = ('images have 4 channels', 'mean 3', 'takes 3', 'color_type')
    if channels == 4:
        refused(own_root, tmp_path / '3', *says, **changes)
    else:  # a gray image becomes three equal channels
        runs.runner(own_root, tmp_path / '3', 2, **changes).train()
    changes |= {'model.backbone.in_channels': channels, **(ONE_MEAN if channels == 1 else NO_MEAN)}
    runs.runner(own_root, tmp_path / 'own', 2, **changes).train()
    view = {'model.view': dict(type='PhotometricView')}
    says = (f'PhotometricView cannot change {channels} channels', 'model.view=None')
    refused(own_root, tmp_path / 'view', *says, **changes, **view)


@pytest.mark.parametrize('part', ['train', 'val'])
def test_a_size_that_the_pipeline_cannot_take_is_named(part, own_root, tmp_path):
    """Scaled to a width of 0; one such image used to end training when it was drawn."""
    path = own_root / 'images' / part / f'{part[0]}3.png'
    path = path.with_name('u3.png' if part == 'train' else 'v1.png')
    cv2.imwrite(str(path), np.zeros((1500, 3, 3), np.uint8))
    changes = {}
    if part == 'val':
        mask = own_root / 'masks' / 'val' / 'v1.png'
        cv2.imwrite(str(mask), np.zeros((1500, 3), np.uint8))
        resize = dict(type='Resize', scale=(48, 40), keep_ratio=True)
        load, *steps = runs.TEST_PIPELINE
        changes['val_dataloader.dataset.pipeline'] = [load, resize, *steps]
    refused(own_root, tmp_path / 'run', 'the pipeline fails at the image', path, **changes)


# --------------------------------------------------------------------------------- masks
@pytest.mark.parametrize('part', ['val', 'test'])
def test_masks_that_are_scored_are_checked_like_labeled_ones(part, own_root, tmp_path):
    prefix = dict(img_path='images/val', seg_map_path=f'masks/{part}')
    changes = {f'{part}_dataloader.dataset.data_prefix': prefix}
    folder = own_root / 'masks' / part
    folder.mkdir(exist_ok=True)
    for name in ('v0', 'v1', 'v2'):
        cv2.imwrite(str(folder / f'{name}.png'), np.full((40, 48), 255, np.uint8))
    refused(own_root, tmp_path / 'no labels', folder / 'v0.png', 'only class 0', **changes)
    mask = np.zeros((40, 48), np.uint8)
    mask[3] = 3
    cv2.imwrite(str(folder / 'v1.png'), mask)
    path, remedy = folder / 'v1.png', 'reduce_zero_label=True'
    refused(own_root, tmp_path / 'label 3', path, 'the label 3', remedy, **changes)


def test_unlabeled_crops_say_where_they_are_padded(data_root, tmp_path):
    load, *steps = tiny.unlabeled_config(data_root)['pipeline']
    key = 'train_dataloader.dataset.unlabeled.pipeline'
    without = [load, *(step for step in steps if step['type'] != 'AddValidityMap')]
    assert len(without) == len(steps)
    refused(
        data_root, tmp_path, f'{key} does not say', "dict(type='AddValidityMap')", **{key: without}
    )
    masks = [load, dict(type='LoadAnnotations'), *steps]
    refused(data_root, tmp_path, f'{key} loads masks', **{key: masks})


@pytest.mark.parametrize(('kind', 'largest'), [(torch.uint16, 4000), (torch.float32, 300.5)])
def test_a_strong_view_takes_bytes(kind, largest):
    """It would take all brighter values for white."""
    parts = torch.nn.ModuleDict(dict(backbone=torch.nn.Conv2d(3, 8, 1), view=PhotometricView()))
    model = SimpleNamespace(
        backbone=parts.backbone,
        modules=parts.modules,
        data_preprocessor=SimpleNamespace(mean=torch.zeros(3)),
    )
    dataset = [dict(inputs=torch.full((3, 4, 4), value).to(kind)) for value in (255, largest)]
    check = partial(setting_checks.images, model, dataset)
    assert list(check([0], 'here')) == []
    (says,) = check([0, 1], 'here')
    assert f'here: PhotometricView takes values to 255, not {largest:.0f}' in says


def test_gray_and_color_images_may_be_mixed():
    backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 1), torch.nn.Conv2d(32, 8, 1))
    model = SimpleNamespace(
        backbone=backbone,
        modules=backbone.modules,
        data_preprocessor=SimpleNamespace(mean=torch.zeros(3)),
    )
    dataset = [dict(inputs=torch.full((c, 4, 4), 99, dtype=torch.uint8)) for c in (1, 3)]
    assert list(setting_checks.images(model, dataset, [0, 1], 'here')) == []
    dataset.append(dict(inputs=torch.full((4, 4, 4), 99, dtype=torch.uint8)))
    (says,) = setting_checks.images(model, dataset, [0, 1, 2], 'here')
    assert 'here: images have 4 channels, data_preprocessor.mean 3 and the backbone takes 3' in says


@pytest.mark.parametrize(('mean', 'says'), [(0.4, ''), (120.0, 'Take Normalize out')])
def test_images_in_0_to_1_go_with_means_like_theirs(mean, says):
    model = SimpleNamespace(
        modules=list, backbone=torch.nn.Conv2d(3, 1, 1),
        data_preprocessor=SimpleNamespace(mean=torch.full((3, 1, 1), mean)),
    )  # fmt: skip
    dataset = [dict(inputs=torch.rand(3, 8, 8))]
    found = list(setting_checks.images(model, dataset, [0], 'train_dataloader.dataset.labeled'))
    assert [says in text for text in found] == ([True] if says else [])
