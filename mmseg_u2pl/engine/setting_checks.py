"""Settings of heads, loops, metrics and images that would go wrong silently."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.optim import ReduceOnPlateauParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from mmseg.evaluation import IoUMetric
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor, nn

from ..datasets.checks import leaves
from ..functional import IGNORE
from ..models.parts.views import PhotometricView


def softmax_heads(model: nn.Module) -> Iterator[tuple[str, BaseDecodeHead, list[CrossEntropyLoss]]]:
    """Name, head and softmax losses of every decode and auxiliary head that has such losses."""
    for name, head in model.named_modules():
        if isinstance(head, BaseDecodeHead):
            losses = [loss for loss in head.modules() if isinstance(loss, CrossEntropyLoss)]
            losses = [loss for loss in losses if not (loss.use_sigmoid or loss.use_mask)]
            if losses:
                yield name, head, losses


def check_heads(model: nn.Module) -> None:
    """The heads ignore 255, which padding and unlabeled pixels are, and their class weights fit.

    Raises:
        ValueError: Names the head, the setting and the remedy.
    """
    for name, head in model.named_modules():
        if isinstance(head, BaseDecodeHead) and head.ignore_index != IGNORE:
            raise ValueError(
                f'{name}.ignore_index={head.ignore_index}: padding is {IGNORE}. Remove the setting, and map '
                f"the value in the masks: dict(type='LoadMask', values={{{head.ignore_index}: {IGNORE}, ...}})"
            )
    for name, head, losses in softmax_heads(model):
        for loss in losses:
            weights = loss.class_weight
            if weights is not None and len(weights) != head.num_classes:
                raise ValueError(
                    f'{name}.loss_decode.class_weight={weights}: give {head.num_classes}, one a class'
                )
            if weights is not None and loss.avg_non_ignore:
                raise ValueError(
                    f'{name}.loss_decode: mmseg fails at class_weight with avg_non_ignore=True. Set '
                    'avg_non_ignore=False: it divides by the weights of the labeled pixels already'
                )


def check_schedule(runner: Runner) -> None:
    """Loop, learning rate and checkpoints count iterations: draws are endless, there are no epochs.

    Raises:
        ValueError: Names the setting and the remedy.
    """
    if isinstance(getattr(runner, '_train_loop', None), EpochBasedTrainLoop):
        raise ValueError(
            'train_cfg is an EpochBasedTrainLoop, whose first epoch would not end, as SemiSampler draws '
            "endlessly: use train_cfg=dict(type='IterBasedTrainLoop', max_iters=..., val_interval=...)"
        )
    counting: list[Any] = [
        s for s in _schedulers(runner) if not isinstance(s, ReduceOnPlateauParamScheduler)
    ]
    counting += [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    for each in counting:
        if each.by_epoch:
            raise ValueError(
                f'{type(each).__name__} has by_epoch=True, but training counts iterations, so that it '
                'would do nothing before the end: set by_epoch=False'
            )


def _schedulers(runner: Runner) -> list[Any]:
    """Of all optimizers."""
    schedulers = getattr(runner, 'param_schedulers', None) or []
    return list(chain(*schedulers.values())) if isinstance(schedulers, dict) else schedulers


def check_metrics(runner: Runner, model: Any) -> None:
    """What hooks and schedulers watch is among the metrics of the validation.

    Raises:
        ValueError: Names the setting and the metrics there are; a metric that ignores another label.
    """
    loop = getattr(runner, '_val_loop', None)
    if not isinstance(loop, BaseLoop):
        return
    known, classes = set(), loop.dataloader.dataset.metainfo.get('classes') or ()
    for metric in loop.evaluator.metrics:
        if not isinstance(metric, IoUMetric):
            return
        if metric.ignore_index != IGNORE:
            raise ValueError(
                f'val_evaluator.ignore_index={metric.ignore_index}: pixels without label are {IGNORE}; '
                'remove the setting'
            )
        areas = [torch.ones(len(classes))] * 4
        names = metric.total_area_to_metrics(*areas, metric.metrics)
        known |= {name if name == 'aAcc' else f'm{name}' for name in names}
        known |= {f'IoU.{name}' for name in classes}
    if evaluators := getattr(loop, 'evaluators', None):
        known = {f'{network}/{name}' for network in evaluators for name in known}
    watched = {}
    for each in (*runner.hooks, *_schedulers(runner)):
        for key in getattr(each, 'key_indicators', None) or ():
            watched[key] = f'{type(each).__name__}.save_best'
        if monitor := getattr(each, 'monitor', None):
            watched[monitor] = f'{type(each).__name__}.monitor'
    for key, setting in watched.items():
        if key != 'auto' and key not in known:
            alike = [name for name in known if name.lower().endswith(key.lower().split('/')[-1])]
            raise ValueError(
                f'{setting}={key!r} is not a metric of this validation: use {" or ".join(sorted(alike or known))}'
            )


def check_same_classes(labeled: Any, scored: Any, where: str) -> None:
    """Scores count the classes that training counts.

    Raises:
        ValueError: Other classes, another order, or masks of the same kind of data set that are
            read in another way.
    """
    names, others = (tuple(each.metainfo.get('classes') or ()) for each in (labeled, scored))
    if names != others:
        raise ValueError(
            f'{where} has the classes {", ".join(others)}, but the labeled data set {", ".join(names)}: '
            'give both the same metainfo'
        )
    first = next(leaves(labeled))[1]
    for place, leaf in leaves(scored, where):
        for key in ('reduce_zero_label', 'label_map'):
            mine, other = (getattr(each, key, None) for each in (first, leaf))
            if type(leaf) is type(first) and mine != other:
                raise ValueError(
                    f'{place}.{key}={other}, but the labeled data set has {mine}: scores would compare '
                    'other classes; set both alike'
                )


def check_images(model: Any, images: Sequence[Tensor], where: str) -> None:
    """The network takes the images (C, H, W) that a pipeline makes, and they are normalized once.

    Raises:
        ValueError: Another number of channels, or values that were normalized before.
    """
    mean = getattr(model.data_preprocessor, 'mean', None)
    means = 1 if mean is None else len(mean)
    convolution = next((m for m in model.backbone.modules() if isinstance(m, nn.Conv2d)), None)
    for channels in {len(image) for image in images}:
        after = max(channels, means)  # a gray image becomes three equal channels
        if min(channels, means) not in (1, after) or (
            convolution is not None and convolution.in_channels != after
        ):
            taken = 'any number' if convolution is None else convolution.in_channels
            raise ValueError(
                f'{where}: images have {channels} channels, data_preprocessor.mean {means} and the '
                f"backbone takes {taken}. Set LoadImageFromFile's color_type, backbone.in_channels "
                'and as many means'
            )
        if after != 3 and any(isinstance(part, PhotometricView) for part in model.modules()):
            raise ValueError(
                f'{where}: images have {after} channels, but PhotometricView changes colors: set '
                'model.view=None'
            )
    values = [image.aminmax() for image in images if image.is_floating_point()]
    low, peak = (
        (min(v.min.item() for v in values), max(v.max.item() for v in values))
        if values
        else (0, 255)
    )
    if low < -20 or 0 < peak <= 10:
        raise ValueError(
            f'{where}: the pipeline makes images of values {low:.1f} ... {peak:.1f}, as if they were '
            'normalized already, which strong views would not know: take Normalize out of the '
            'pipeline, and set data_preprocessor.mean and std'
        )
    if mean is None and is_main_process():
        warnings.warn(
            'data_preprocessor has no mean and std: images reach the network as 0 ... 255. Set those '
            'that the backbone was trained with',
            stacklevel=2,
        )
