"""Show, per class, what the contrastive loss lives on."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from prettytable import PrettyTable
from torch import Tensor

from .progress_hook import segmentor


@HOOKS.register_module()
class ClassCountsHook(Hook):
    """Log anchors, negatives and bank fill of every class, averaged over an interval.

    Labeled and unlabeled counts stand apart: a column of zeros is how a broken mask, a class
    without negatives or too high a ``low_rank`` shows. The numbers also go to the
    visualisation backends as ``semi/<count>/<class>``.

    Args:
        interval: Iterations between tables.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add up on the device; read and print at the interval."""
        counts = segmentor(runner).class_counts
        if counts:
            self._steps += 1
            for name, count in counts.items():
                self._sums[name] = count.float() + self._sums.get(name, 0)
        if self._sums and self.every_n_train_iters(runner, self.interval):
            self._report(runner)
            self._sums, self._steps = {}, 0

    def _report(self, runner: Runner) -> None:
        classes = runner.train_dataloader.dataset.metainfo['classes']
        table = PrettyTable(['class', *(name.replace('_', ' ') for name in self._sums)])
        table.align = 'r'
        table.align['class'] = 'l'
        columns = [(total / self._steps).tolist() for total in self._sums.values()]
        for name, row in zip(classes, zip(*columns, strict=True), strict=True):
            table.add_row([name, *(f'{value:.0f}' for value in row)])
        runner.logger.info(
            f'pixels a step that anchor each class, and its negatives (mean of {self._steps} '
            f'steps; bank: keys stored)\n{table}'
        )
        scalars = {
            f'semi/{count}/{name}': value
            for count, column in zip(self._sums, columns, strict=True)
            for name, value in zip(classes, column, strict=True)
        }
        runner.visualizer.add_scalars(scalars, step=runner.iter + 1)
