"""A progress bar with the time left, for people who watch a terminal."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show iterations, time used and time left of a training.

    Args:
        title: What is trained.
        console: Where to draw; None means standard output. Where that is no terminal (a log
            file), a line is printed at every tenth instead.
    """

    priority = 'LOWEST'

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.console = console or Console()
        self.title = title
        self.bar = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn('left'),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self.console,
        )

    def before_train(self, runner: Runner) -> None:
        """Open the bar."""
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=runner.max_iters, completed=runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Advance it."""
        done = runner.iter + 1
        self.bar.update(self.task, completed=done)
        if not self.console.is_terminal and done % max(1, runner.max_iters // 10) == 0:
            task = self.bar.tasks[0]
            left = f'{task.time_remaining:.0f} s left' if task.time_remaining else ''
            self.console.print(f'{self.title}: {done}/{runner.max_iters} {left}')

    def after_train(self, runner: Runner) -> None:
        """Close it."""
        self.bar.stop()
