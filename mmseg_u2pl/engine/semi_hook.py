"""The one hook of semi-supervised training."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from prettytable import PrettyTable
from torch import Tensor

from ..models import SemiSegmentor
from .checks import check_training
from .model import segmentor


def _method(runner: Runner) -> SemiSegmentor | None:
    model = segmentor(runner)
    return model if isinstance(model, SemiSegmentor) else None


@HOOKS.register_module()
class SemiTrainingHook(Hook):
    """Checks the run, drives a ``SemiSegmentor`` and seeds every iteration.

    It belongs to ``default_hooks``; a ``SemiSegmentor`` refuses to train without it. Any other
    segmentor, such as the supervised baseline, gets the checks and the seeds.

    Before each iteration torch's generators are seeded from (seed, rank, iteration), so boxes,
    anchors and dropout after a resume are those of an uninterrupted run without saving a random
    state. With gradient accumulation the teacher follows the student's steps.

    Args:
        class_interval: Iterations between tables of what the contrastive loss has of each class:
            anchors, negatives and keys in the bank.
        zero_interval: Iterations after which a number that should not stay 0 (``zero_warnings`` of
            the method) is reported.
    """

    priority = 'VERY_HIGH'

    def __init__(self, class_interval: int = 200, zero_interval: int = 100) -> None:
        self.class_interval = class_interval
        self.zero_interval = zero_interval
        self._watched: dict[str, list[Tensor]] = {}
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def before_train(self, runner: Runner) -> None:
        """Refuse, with a remedy, what cannot work; state of another run starts again."""
        check_training(runner)
        if model := _method(runner):
            model.begin_run(resumed=runner.iter > 0)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the iteration and tell the model where training stands."""
        step = runner.iter * runner.world_size + runner.rank
        torch.manual_seed(((runner.seed or 0) * 2_147_483_647 + step) % 2**63)
        if model := _method(runner):
            model.before_iter(runner.iter, runner.max_iters)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Let the teacher follow an optimizer step; log what the model says."""
        if (model := _method(runner)) is None:
            return
        if runner.optim_wrapper.should_update():
            for name, value in model.after_step(outputs).items():
                runner.message_hub.update_scalar(f'train/{name}', value)
        self._warn_of_zeros(runner, model, outputs)
        if statistics := model.class_statistics():
            self._steps += 1
            for name, count in statistics.items():  # added up on the device
                self._sums[name] = count.float() + self._sums.get(name, 0)
        if self._sums and self.every_n_train_iters(runner, self.class_interval):
            self._report_classes(runner)
            self._sums, self._steps = {}, 0

    def before_val(self, runner: Runner) -> None:
        """Before it starts, the teacher is scored as a copy of the student."""
        if model := _method(runner):
            model.before_val()

    def _warn_of_zeros(self, runner: Runner, model: SemiSegmentor, outputs: dict) -> None:
        """Say once an interval what stayed 0; read from the device once an interval."""
        for name in outputs.keys() & model.zero_warnings.keys():
            values = self._watched.setdefault(name, [])
            values.append(outputs[name].detach())
            if len(values) == self.zero_interval:
                if not torch.stack(values).any():
                    runner.logger.warning(
                        f'{name} was 0 for {len(values)} iterations: {model.zero_warnings[name]}'
                    )
                values.clear()

    def _report_classes(self, runner: Runner) -> None:
        """Print the table, and hand the numbers to the visualizer as ``semi/<count>/<class>``."""
        classes = runner.train_dataloader.dataset.metainfo['classes']
        table = PrettyTable(['class', *(name.replace('_', ' ') for name in self._sums)], align='r')
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
