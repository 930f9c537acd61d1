"""Measure on a GPU within a time, group by group.

Each group of tasks runs in a process of its own. A task that fails, or a group that runs out of time,
leaves the others alone.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import torch

from .gpu_tasks import Figures, Settings, tasks

BUDGETS = {'steps': 170, 'waiting': 60, 'losses': 30, '12 GB': 80, 'compile': 150}
"""Seconds of each group out of ten minutes; what is left is for training."""


def run_group(group: str, settings: Settings, connection: Connection) -> None:
    """Send title and figures of each task of a group; of one that fails, ``error``."""
    for title, task in tasks(group, settings).items():
        try:
            figures = task()
        except Exception as error:
            figures = {'error': f'{type(error).__name__}: {str(error)[:500]}'}
        connection.send((title, figures))
        gc.collect()
        if settings.device == 'cuda':
            torch.cuda.empty_cache()


def measure(
    group: str, settings: Settings, seconds: float, run: Callable = run_group
) -> Iterator[tuple[str, Figures]]:
    """Title and figures of a group's tasks, as long as the time lasts."""
    end = time.monotonic() + seconds
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(group, settings, sender))
    process.start()
    sender.close()
    try:
        while receiver.poll(max(0.0, end - time.monotonic())):
            yield receiver.recv()
        yield 'the rest', {'error': f'not done in {seconds:.0f} s'}
    except EOFError:
        process.join()
        if process.exitcode:
            yield 'the rest', {'error': f'the process ended with {process.exitcode}'}
    finally:
        process.kill()


def markdown(report: dict[str, dict[str, Figures]]) -> str:
    """A report as Markdown: a section a group, an entry a task."""
    lines = []
    for group, entries in report.items():
        lines += ['', f'## {group}', '']
        for title, figures in entries.items():
            texts = (f'{k} {f"{v:.2f}" if isinstance(v, float) else v}' for k, v in figures.items())
            lines.append(f'- **{title}**: {"; ".join(texts)}')
    return '\n'.join(['# GPU report', *lines, ''])
