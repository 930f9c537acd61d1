"""Start the teacher at the end of the warm-up and average the student in after every step."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from .progress_hook import segmentor


@HOOKS.register_module()
class TeacherHook(Hook):
    """Drive ``model.teacher``: copy once, then EMA after every optimiser step.

    With gradient accumulation the student changes only every so many iterations; so does the
    teacher. Its momentum is logged as ``semi/ema_momentum``.
    """

    priority = 'HIGH'

    def before_train(self, runner: Runner) -> None:
        """Read k once, so that no iteration waits for the device."""
        self.step = int(segmentor(runner).teacher.updates)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """At the end of the warm-up the teacher becomes the student."""
        model = segmentor(runner)
        if self.step == 0 and runner.iter >= model.warmup_iters:
            model.teacher.copy_from(model)
            self.step = 1
            runner.logger.info(f'The teacher starts as a copy of the student at {runner.iter}')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """θ_t ← m·θ_t + (1 − m)·θ_s, if the optimiser made a step."""
        if self.step and runner.optim_wrapper.should_update():
            model = segmentor(runner)
            momentum = model.teacher.update(model, self.step)
            runner.message_hub.update_scalar('train/semi/ema_momentum', momentum)
            self.step += 1
