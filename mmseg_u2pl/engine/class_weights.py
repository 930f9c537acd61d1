"""Weigh rare classes up in the supervised loss, by what the labeled masks hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import HOOKS
from prettytable import PrettyTable

from ..datasets.checks import label_counts
from .model import segmentor

HEADS = ('decode_head', 'auxiliary_head')


@HOOKS.register_module()
class ClassWeightsHook(Hook):
    """Give every softmax ``CrossEntropyLoss`` of the heads w_c ∝ (share of c's pixels)^−power.

    The masks of the labeled training images are counted once, before training; any mmseg
    segmentor and data set will do. With mmseg's weighted mean the classes' shares of the loss
    then go like share^(1 − power): 0 changes nothing, 1 makes all classes equal. A method that has
    ``set_class_share(share)``, like ``U2PLBalanced``, is told the shares (C,).

    Args:
        power: In [0, 1].

    Raises:
        ValueError: A power outside [0, 1]; no such loss, or one with weights of its own.
    """

    def __init__(self, power: float = 0.5) -> None:
        if not 0 <= power <= 1:
            raise ValueError(f'ClassWeightsHook: power must be in [0, 1], got {power}')
        self.power = power

    def before_train(self, runner: Runner) -> None:
        """Count, weigh, and print both."""
        model = segmentor(runner)
        dataset = runner.train_dataloader.dataset
        dataset = getattr(dataset, 'labeled', dataset)
        counts = label_counts(dataset)[: model.num_classes]
        share, weights = counts / counts.sum(), class_weights(counts, self.power)
        for loss in _losses(model):
            loss.class_weight = weights.tolist()
            # mmseg divides by the labeled pixels' weights already; its branch for
            # avg_non_ignore fails on weighted maps
            loss.avg_non_ignore = False
        table = PrettyTable(['class', 'labeled pixels, %', 'weight'], align='r')
        table.align['class'] = 'l'
        for row in zip(dataset.metainfo['classes'], share, weights, strict=True):
            table.add_row(
                [row[0], f'{100 * row[1]:.2f}', f'{row[2]:.2f}' if row[1] else 'no pixel']
            )
        runner.logger.info(f'class weights of the supervised loss\n{table}')


def class_weights(counts: np.ndarray, power: float) -> np.ndarray:
    """w_c ∝ share_c^−power with a mean of 1 over all pixels; 0 for a class without pixels.

    Args:
        counts: Pixels a class (C,).
        power: In [0, 1].
    """
    share = counts / counts.sum()
    weights = np.where(share > 0, np.maximum(share, 1e-12) ** -power, 0.0)
    return weights / (weights * share).sum()


def _losses(model: Any) -> list[CrossEntropyLoss]:
    """The softmax losses of the heads."""
    heads = [
        head
        for network in getattr(model, 'networks', (model,))
        for name in HEADS
        if (head := getattr(network, name, None)) is not None
    ]
    losses = [
        module
        for head in heads
        for module in head.modules()
        if isinstance(module, CrossEntropyLoss) and not (module.use_sigmoid or module.use_mask)
    ]
    if not losses:
        raise ValueError(
            'ClassWeightsHook weighs a softmax CrossEntropyLoss, but decode_head.loss_decode is a '
            f'{type(model.decode_head.loss_decode).__name__}: take the hook out of custom_hooks'
        )
    for loss in losses:
        if loss.class_weight is not None:
            raise ValueError(
                f'loss_decode.class_weight={loss.class_weight} is set, and ClassWeightsHook would '
                'replace it: remove one of them'
            )
    return losses
