"""Weight rare classes up in the supervised loss, by what the labeled masks hold."""

from __future__ import annotations

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from prettytable import PrettyTable

from ..models.settings import at_most
from .checks import softmax_heads
from .model import segmentor


@HOOKS.register_module()
class ClassWeightsHook(Hook):
    """Give every softmax ``CrossEntropyLoss`` of the heads w_c ∝ (share of c's pixels)^−power.

    The shares are those of the labeled masks, the model any mmseg segmentor. The classes' shares of
    the loss then go like share^(1 − power): 0 changes nothing, 1 makes all classes equal.

    Args:
        power: In [0, 1].

    Raises:
        ValueError: A power outside [0, 1]; no such loss, or one that has weights already.
    """

    def __init__(self, power: float = 0.5) -> None:
        at_most(1, power=power)
        self.power = power

    def before_train(self, runner: Runner) -> None:
        """Set the weights, and print shares and weights."""
        model = segmentor(runner)
        dataset = runner.train_dataloader.dataset
        counts = dataset.label_counts[: model.num_classes]
        share, weights = counts / counts.sum(), class_weights(counts, self.power)
        losses = [loss for _, _, losses in softmax_heads(model) for loss in losses]
        if not losses:
            raise ValueError(
                'ClassWeightsHook weights a softmax CrossEntropyLoss, but decode_head.loss_decode '
                f'is a {type(model.decode_head.loss_decode).__name__}: take the hook out of '
                'custom_hooks'
            )
        for loss in losses:
            if loss.class_weight is not None:
                raise ValueError(
                    f'loss_decode.class_weight={loss.class_weight} is set, and ClassWeightsHook '
                    'would replace it: remove one of them'
                )
            loss.class_weight = weights.tolist()
            # mmseg divides by the labeled pixels' weights already; its branch for
            # avg_non_ignore fails on weighted maps
            loss.avg_non_ignore = False
        table = PrettyTable(['class', 'labeled pixels, %', 'weight'], align='r')
        table.align['class'] = 'l'
        for name, part, weight in zip(dataset.metainfo['classes'], share, weights, strict=True):
            table.add_row([name, f'{100 * part:.2f}', f'{weight:.2f}' if part else 'no pixel'])
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
