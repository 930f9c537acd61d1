"""Measure on a GPU, the most important first, as long as the time lasts.

One process does all tasks, since a start takes long. A task that fails leaves the others alone; after one
that fails on a GPU, ends the process, or hangs, another process goes on.
"""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection

import torch

from .gpu_tasks import Figures, Settings, tasks

Key = tuple[str, str]
"""Group and title of a task."""
TITLE = '# GPU report'
"""The first line of a report."""
JOIN_LIMIT = 10.0
"""Seconds in which a process that says nothing more ends."""
TASK_LIMIT = 180.0
"""Seconds that a task may take, the start of its process included."""


def run_tasks(keys: Sequence[Key], settings: Settings, connection: Connection) -> None:
    """Send the figures of each task, with its seconds; of one that fails, ``error``."""
    known = tasks(settings)
    for key in keys:
        start, failed = time.monotonic(), False
        try:
            gc.collect()
            if settings.device == 'cuda':
                torch.cuda.empty_cache()
            figures = known[key]()
        except Exception as error:
            figures, failed = {'error': f'{type(error).__name__}: {str(error)[:500]}'}, True
        connection.send({**figures, 'seconds': time.monotonic() - start})
        if failed and settings.device == 'cuda':
            os._exit(0)  # after some errors every call of CUDA fails: a new process goes on


def measure(
    end: float, keys: Sequence[Key], settings: Settings, run: Callable = run_tasks,
    limit: float = TASK_LIMIT,
) -> Iterator[tuple[Key, Figures]]:  # fmt: skip
    """Each task and its figures until ``time.monotonic()`` is ``end``; the rest has an ``error``.

    Args:
        end: When to stop.
        keys: Tasks, in this order.
        settings: Of the tasks.
        run: What the process does.
        limit: Seconds that a task may take.
    """
    left = list(keys)
    context = multiprocessing.get_context('spawn')
    while left and time.monotonic() < end:
        receiver, sender = context.Pipe(duplex=False)
        waiting = len(left)
        process = context.Process(target=run, args=(left, settings, sender))
        process.start()
        sender.close()
        try:
            while left and receiver.poll(min(limit, max(0.0, end - time.monotonic()))):
                figures = receiver.recv()
                yield left.pop(0), figures
            if left and time.monotonic() < end:
                yield left.pop(0), {'error': f'not done after {limit:.0f} s'}
        except EOFError:
            process.join(JOIN_LIMIT)
            if process.exitcode or len(left) == waiting:  # else it stopped after an error
                yield left.pop(0), {'error': f'the process ended with {process.exitcode}'}
        finally:
            process.kill()
    for key in left:
        yield key, {'error': 'the time was over'}


def markdown(report: dict[str, dict[str, Figures]]) -> str:
    """A report as Markdown: a section a group, an entry a task."""
    lines = []
    for group, entries in report.items():
        lines += ['', f'## {group}', '']
        for title, figures in entries.items():
            texts = (f'{k} {f"{v:.2f}" if isinstance(v, float) else v}' for k, v in figures.items())
            lines.append(f'- **{title}**: {"; ".join(texts)}')
    return '\n'.join([TITLE, *lines, ''])
