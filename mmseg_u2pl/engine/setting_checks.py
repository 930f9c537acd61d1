"""Settings that would go wrong silently: each function yields what is wrong, with value and remedy."""

import warnings
from collections.abc import Iterable, Iterator
from itertools import chain, product
from typing import Any

import torch
from mmcv.transforms import LoadAnnotations
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from mmseg.evaluation import IoUMetric
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor, nn

from ..datasets.checks import leaves, loading_step
from ..datasets.semi_dataset import sample_of, seeded
from ..datasets.unlabeled import AddValidityMap
from ..functional import IGNORE
from ..models.parts.views import PhotometricView
from .checkpoints import SafeCheckpointHook
from .segmentor import segmentor

_DRAWS = 8  # of an image: augmentations are random


def softmax_heads(model: nn.Module) -> Iterator[tuple[str, BaseDecodeHead, list[CrossEntropyLoss]]]:
    """Name, head and softmax losses of every decode and auxiliary head that has such losses."""
    for name, head in model.named_modules():
        if isinstance(head, BaseDecodeHead):
            losses = [loss for loss in head.modules() if isinstance(loss, CrossEntropyLoss)]
            losses = [loss for loss in losses if not (loss.use_sigmoid or loss.use_mask)]
            if losses:
                yield name, head, losses


def heads(model: nn.Module) -> Iterator[str]:
    """They ignore 255, which padding and pixels without label are, and class weights fit."""
    for name, head in model.named_modules():
        if isinstance(head, BaseDecodeHead) and head.num_classes > IGNORE:
            yield f'{name}.num_classes={head.num_classes}: labels are 0 ... 254, as {IGNORE} means ignore'
        if isinstance(head, BaseDecodeHead) and (value := head.ignore_index) != IGNORE:
            map_it = f"dict(type='LoadMask', values={{{value}: {IGNORE}, ...}})"
            yield f'{name}.ignore_index={value}: padding is {IGNORE}. Remove it, and load by {map_it}'
    for name, head, losses in softmax_heads(model):
        for loss in (loss for loss in losses if loss.class_weight is not None):
            where = f'{name}.loss_decode.class_weight={loss.class_weight}'
            if len(loss.class_weight) != head.num_classes:
                yield f'{where}: give {head.num_classes}, one a class'
            if loss.avg_non_ignore:  # its sum of the labeled pixels' weights does the same
                yield f'{where}: mmseg fails with avg_non_ignore=True: set avg_non_ignore=False'


def schedule(runner: Runner) -> Iterator[str]:
    """Loop, learning rates and checkpoints count iterations: draws are endless."""
    if isinstance(getattr(runner, '_train_loop', None), EpochBasedTrainLoop):
        loop = "dict(type='IterBasedTrainLoop', max_iters=..., val_interval=...)"
        yield f'train_cfg: the first epoch of an EpochBasedTrainLoop would not end: use {loop}'
    for each in (*runner.hooks, *_schedulers(runner)):
        plateau = getattr(each, 'need_val_args', False)  # it steps at validations
        if isinstance(each, CheckpointHook | _ParamScheduler) and each.by_epoch and not plateau:
            name = type(each).__name__
            yield f'{name} has by_epoch=True and would do nothing before the end: set by_epoch=False'
        if isinstance(each, LoggerHook) and each.log_metric_by_epoch:
            yield (
                'default_hooks.logger: LoggerHook would log every validation as one at iteration 0: '
                'set log_metric_by_epoch=False'
            )
        if isinstance(each, CheckpointHook) and not isinstance(each, SafeCheckpointHook):
            lost = 'deletes the last checkpoint before it has written the next'
            yield f"default_hooks.checkpoint: CheckpointHook {lost}: set type='SafeCheckpointHook'"


def whole_steps(runner: Runner) -> Iterator[str]:
    """Warm-up, validations and checkpoints come after whole optimizer steps."""
    counts = getattr(getattr(runner, 'optim_wrapper', None), '_accumulative_counts', 1)
    loop = getattr(runner, '_train_loop', None)
    numbers = {
        'model.warmup_iters': getattr(segmentor(runner), 'warmup_iters', 0),
        'train_cfg.val_interval': getattr(loop, 'val_interval', 0),
    }
    for each in runner.hooks:
        if isinstance(each, CheckpointHook):
            numbers['default_hooks.checkpoint.interval'] = each.interval
    for name, number in numbers.items():
        if number > 0 and number % counts:
            yield (
                f'{name}={number} ends between the passes of a step of '
                f'optim_wrapper.accumulative_counts={counts}, of which a step that is skipped would be '
                f'half undone: take a multiple, such as {(number // counts + 1) * counts}'
            )


def _schedulers(runner: Runner) -> list[Any]:
    schedulers = getattr(runner, 'param_schedulers', None) or []
    return list(chain(*schedulers.values())) if isinstance(schedulers, dict) else schedulers


def metrics(runner: Runner) -> Iterator[str]:
    """What hooks and schedulers watch is among the metrics of the validation."""
    loop = getattr(runner, '_val_loop', None)
    if not isinstance(loop, BaseLoop):
        return
    known, classes = set(), loop.dataloader.dataset.metainfo.get('classes') or ()
    for metric in loop.evaluator.metrics:
        if not isinstance(metric, IoUMetric):
            return
        if metric.ignore_index != IGNORE:
            yield f'val_evaluator.ignore_index={metric.ignore_index}: it is {IGNORE}; remove the setting'
        areas = [torch.ones(len(classes))] * 4
        names = metric.total_area_to_metrics(*areas, metric.metrics)
        own = {name if name == 'aAcc' else f'm{name}' for name in names}
        own |= {f'IoU.{name}' for name in classes}
        known |= {f'{metric.prefix}/{name}' if metric.prefix else name for name in own}
    if evaluators := getattr(loop, 'evaluators', None):
        known = {f'{network}/{name}' for network in evaluators for name in known}
    for each in (*runner.hooks, *_schedulers(runner)):
        for key in (
            *(getattr(each, 'key_indicators', None) or ()),
            getattr(each, 'monitor', 'auto'),
        ):
            if key != 'auto' and key not in known:
                end = key.lower().split('/')[-1]
                alike = sorted([name for name in known if name.lower().endswith(end)] or known)
                yield f'{type(each).__name__}: {key!r} is not a metric here: use {" or ".join(alike)}'


def classes(labeled: Any, scored: Any, where: str) -> Iterator[str]:
    """Scores count what training learns."""
    names, others = (', '.join(each.metainfo.get('classes') or ()) for each in (labeled, scored))
    if names != others:
        yield f'{where} has the classes {others}, labeled images {names}: give both one metainfo'
    first = next(leaves(labeled))[1]
    for place, leaf in leaves(scored, where):
        value, other = (getattr(each, 'reduce_zero_label', None) for each in (leaf, first))
        if type(leaf) is type(first) and value != other:
            yield f'{place}.reduce_zero_label={value}, but labeled images have {other}: set both alike'


def unlabeled(dataset: Any) -> Iterator[str]:
    """Crops say where they are padded, and no mask is read."""
    for place, leaf in leaves(dataset, 'train_dataloader.dataset.unlabeled'):
        if loading_step(leaf, AddValidityMap) is None:
            step = "dict(type='AddValidityMap')"
            yield f'{place}.pipeline does not say where crops are padded: add {step} after LoadImageFromFile'
        if loading_step(leaf, LoadAnnotations):
            yield f'{place}.pipeline loads masks, which unlabeled images have not: remove LoadAnnotations'


def images(model: Any, dataset: Any, indices: Iterable[int], where: str) -> Iterator[str]:
    """The network takes what the pipeline makes of some images, normalized once.

    Raises:
        ValueError: As in ``sample_of``.
    """
    made: list[Any] = []
    for index, seed in product(indices, range(_DRAWS)):
        with seeded(seed):
            made.append(sample_of(dataset, index).get('inputs'))
    made = [image for image in made if isinstance(image, Tensor)]  # not lists for augmented tests
    strong = any(isinstance(part, PhotometricView) for part in model.modules())
    mean = getattr(model.data_preprocessor, 'mean', None)
    means = 1 if mean is None else len(mean)
    convolutions = (part for part in model.backbone.modules() if isinstance(part, nn.Conv2d))
    first = next(convolutions, None)
    for channels in {len(image) for image in made}:
        after = max(channels, means)  # a gray image becomes three equal channels
        taken = getattr(first, 'in_channels', after)
        if taken != after or min(channels, means) not in (1, after):
            yield (
                f'{where}: images have {channels} channels, data_preprocessor.mean {means} and the '
                f'backbone takes {taken}: set color_type of LoadImageFromFile, or backbone.in_channels'
            )
        if after != 3 and strong:
            yield f'{where}: PhotometricView cannot change {after} channels: set model.view=None'
    size = getattr(model.data_preprocessor, 'size', None)
    if where.startswith('train_') and size is not None:
        for height, width in sorted({tuple(image.shape[1:]) for image in made}, reverse=True):
            if height > size[0] or width > size[1]:
                yield (
                    f'{where}: the pipeline makes images of {height}x{width} pixels, but '
                    f'data_preprocessor.size={tuple(size)}: set it, and crop_size of RandomCrop, alike'
                )
    largest = max((float(image.float().max()) for image in made), default=0)
    if largest > 255 and strong:
        yield f'{where}: PhotometricView takes values to 255, not {largest:.0f}: set model.view=None'
    values = [part for image in made if image.is_floating_point() for part in image.aminmax()]
    small = bool(values) and 0 < max(values) <= 10  # of images in [0, 1], with means like theirs
    if small and min(values) >= 0 and not strong and mean is not None:
        small = float(torch.as_tensor(mean).max()) > 10 * float(max(values))
    if values and (min(values) < -20 or small):
        yield (
            f'{where}: the pipeline makes values {min(values):.1f} ... {max(values):.1f}. Take Normalize '
            'out, as strong views need to know: set data_preprocessor.mean and std'
        )
    if mean is None and is_main_process():
        what = 'data_preprocessor has no mean and std: images reach the network as 0 ... 255'
        warnings.warn(what, stacklevel=2)
