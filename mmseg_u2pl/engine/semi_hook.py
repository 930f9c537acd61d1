"""The one hook of semi-supervised training."""

from itertools import chain
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import HOOKS
from torch import Tensor

from ..models import SemiSegmentor
from .checkpoints import read_log
from .checks import check_test, check_training
from .finite import FiniteGuard
from .segmentor import segmentor

CLASS_INTERVAL = 200
"""Iterations between reports on the classes."""
ZERO_INTERVAL = 100
"""Iterations between warnings of a number that stays 0."""


def _method(runner: Runner) -> SemiSegmentor | None:
    model = segmentor(runner)
    return model if isinstance(model, SemiSegmentor) else None


def _lacks_validation(work_dir: Path, iteration: int) -> bool:
    """Whether a work dir has logs, and none the validation at an iteration."""
    logs = (read_log(path) for path in work_dir.glob('*/vis_data/scalars.json'))
    lines = list(chain.from_iterable(logs))
    here = (line for line in lines if line.get('step') == iteration)
    found = (line for line in here if 'loss' not in line)
    done = any('time' in line or any(key.endswith('mIoU') for key in line) for line in found)
    return bool(lines) and not done


@HOOKS.register_module()
class SemiTrainingHook(Hook):
    """Checks the run, drives a ``SemiSegmentor`` and seeds every iteration.

    It belongs to ``default_hooks``; a ``SemiSegmentor`` refuses to train without it. Any other
    segmentor, such as the supervised baseline, gets the checks and the seeds. A test gets the checks
    of its images and masks.

    Before each iteration torch's generators are seeded from (seed, rank, iteration), so boxes,
    anchors and dropout after a resume are those of an uninterrupted run without saving a random
    state. With gradient accumulation the teacher follows the student's steps.

    Every 200 iterations the visualizer gets, as ``semi/<count>/<class>``, what the contrastive loss
    has of each class a step: anchors, negatives and keys in the bank. A number that should not stay
    0 (``zero_warnings`` of the method) is reported after 100 iterations. Steps whose gradient is not
    finite are left out (:class:`FiniteGuard`).
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._watched: dict[str, list[Tensor]] = {}
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._guard: FiniteGuard | None = None

    def before_train(self, runner: Runner) -> None:
        """Refuse, with a remedy, what cannot work; state of another run starts again."""
        check_training(runner)
        if runner.iter >= runner.max_iters:
            runner.logger.warning(
                f'nothing is left to train: iteration {runner.iter} of {runner.max_iters}'
            )
        if model := _method(runner):
            model.begin_run(resumed=runner.iter > 0)
        self._guard = FiniteGuard(runner)

    def before_test(self, runner: Runner) -> None:
        """Refuse images and masks that would be scored wrongly."""
        check_test(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Repeat a validation that a kill cut off: its checkpoint was written before."""
        loop, iteration = runner.train_loop, runner.iter
        if (
            not runner._resume
            or not isinstance(loop, IterBasedTrainLoop)
            or runner.val_loop is None
        ):
            return
        loop._decide_current_val_interval()  # of this iteration, where intervals change
        due = not iteration % loop.val_interval or iteration >= runner.max_iters
        if iteration < max(1, loop.val_begin) or not due:
            return
        missed = [_lacks_validation(Path(runner.work_dir), iteration)]
        broadcast_object_list(missed)  # the first process has written the log
        if missed[0]:
            runner.logger.info(
                f'the validation at iteration {iteration} was cut off: it is repeated'
            )
            if model := _method(runner):
                model.before_iter(iteration - 1, runner.max_iters)
            runner.val_loop.run()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the iteration and tell the model where training stands."""
        step = runner.iter * runner.world_size + runner.rank
        torch.manual_seed(((runner.seed or 0) * 2_147_483_647 + step) % 2**63)
        if model := _method(runner):
            model.before_iter(runner.iter, runner.max_iters)
        if self._guard is not None:
            self._guard.remember()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Let the teacher follow an optimizer step; log what the model says."""
        if self._guard is not None and self._guard.after_iter(runner, data_batch, outputs):
            return
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
        if self._sums and self.every_n_train_iters(runner, CLASS_INTERVAL):
            classes = runner.train_dataloader.dataset.metainfo['classes']
            scalars = {
                f'semi/{count}/{name}': value
                for count, total in self._sums.items()
                for name, value in zip(classes, (total / self._steps).tolist(), strict=True)
            }
            runner.visualizer.add_scalars(scalars, step=runner.iter + 1)
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
            if len(values) == ZERO_INTERVAL:
                if not torch.stack(values).any():
                    runner.logger.warning(
                        f'{name} was 0 for {len(values)} iterations: {model.zero_warnings[name]}'
                    )
                values.clear()
