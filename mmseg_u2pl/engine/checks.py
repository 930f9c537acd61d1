"""Check a runner's data, model and settings against each other before training."""

from __future__ import annotations

from typing import Any

from mmengine.dist import is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ..datasets import SemiDataset, SemiSampler
from ..datasets.checks import check_labels


def check_training(runner: Runner) -> None:
    """Everything that would otherwise fail, or silently go wrong, after the first step.

    Raises:
        TypeError: The training data set is no ``SemiDataset``.
        ValueError: Names the setting, its value and the remedy.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    loader = runner.train_dataloader
    if not isinstance(loader.dataset, SemiDataset):
        raise TypeError(
            f'train_dataloader.dataset is a {type(loader.dataset).__name__}; '
            f"{type(model).__name__} trains on dict(type='SemiDataset', labeled=..., "
            'unlabeled=...)'
        )
    _check_classes(model, loader.dataset)
    _check_batch(model, loader)
    _check_sync_bn(model)
    model.check(runner)
    if is_main_process():  # one reader is enough
        check_labels(loader.dataset.labeled, model.num_classes)


def _check_classes(model: Any, dataset: SemiDataset) -> None:
    classes = dataset.metainfo.get('classes')
    if classes is None:
        raise ValueError(
            'the labeled data set has no class names: give it metainfo=dict(classes=(...))'
        )
    if len(classes) != model.num_classes:
        raise ValueError(
            f'decode_head.num_classes={model.num_classes}, but the labeled data set has '
            f'{len(classes)} classes ({", ".join(classes)}): set num_classes={len(classes)}'
        )


def _check_batch(model: Any, loader: Any) -> None:
    sampler = loader.sampler
    if not isinstance(sampler, SemiSampler):
        raise TypeError(
            f'train_dataloader.sampler is a {type(sampler).__name__}: only '
            "dict(type='SemiSampler', ratio=(1, 1)) fixes labeled : unlabeled in each batch"
        )
    pattern = sum(sampler.ratio)
    if loader.batch_size is None or loader.batch_size % pattern:
        raise ValueError(
            f'train_dataloader.batch_size={loader.batch_size} is no multiple of '
            f'{pattern} = sum of sampler.ratio {sampler.ratio}'
        )
    unlabeled = loader.batch_size // pattern * sampler.ratio[1]
    if unlabeled % model.unlabeled_group:
        raise ValueError(
            f'{type(model).__name__} takes unlabeled images in groups of {model.unlabeled_group}, '
            f'but a batch has {unlabeled}: change the second number of '
            f'train_dataloader.sampler.ratio={tuple(sampler.ratio)} or '
            f'batch_size={loader.batch_size}'
        )


def _check_sync_bn(model: nn.Module) -> None:
    layers = [name for name, m in model.named_modules() if isinstance(m, nn.SyncBatchNorm)]
    if layers and next(model.parameters()).device.type == 'cpu':
        raise ValueError(
            f'{layers[0]} is a SyncBatchNorm, which does not train on a CPU: use '
            "norm_cfg=dict(type='BN'), and leave sync_bn='torch' to runs on several GPUs"
        )
