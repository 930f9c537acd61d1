"""Weight rare classes up in the supervised loss, by what the labeled masks hold."""

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from prettytable import PrettyTable

from .segmentor import segmentor
from .setting_checks import softmax_heads


@HOOKS.register_module()
class ClassWeightsHook(Hook):
    """Give every softmax ``CrossEntropyLoss`` of the heads w_c ∝ (share of c's pixels)^−½.

    The shares are those of the labeled masks, the model any mmseg segmentor. The classes' shares of
    the loss then go like share^½.

    Raises:
        ValueError: No such loss, or one that has weights already.
    """

    def before_train(self, runner: Runner) -> None:
        """Set the weights, and print shares and weights."""
        model = segmentor(runner)
        dataset = runner.train_dataloader.dataset
        counts = dataset.labels.counts[: model.num_classes]
        share, weights = counts / counts.sum(), class_weights(counts)
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


def class_weights(counts: np.ndarray) -> np.ndarray:
    """w_c ∝ share_c^−½ with a mean of 1 over all pixels, of ``counts`` (C,); 0 without pixels."""
    share = counts / counts.sum()
    weights = np.where(share > 0, np.maximum(share, 1e-12) ** -0.5, 0.0)
    return weights / (weights * share).sum()
