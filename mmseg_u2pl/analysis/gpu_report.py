"""Measure on a GPU within a time, group by group.

One process does all groups, since a start takes long. A task that fails leaves the others alone; a
group that runs out of time ends the process, and another one starts with the next group.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection

import torch

from .gpu_tasks import Figures, Settings, tasks

BUDGETS = {'steps': 170, 'waiting': 60, 'losses': 30, '12 GB': 80, 'compile': 150}
"""Seconds of each group out of ten minutes; what is left is for training."""


def run_groups(groups: Sequence[str], settings: Settings, connection: Connection) -> None:
    """Send group, title and figures of each task; of one that fails, ``error``; '' ends a group."""
    for group in groups:
        for title, task in tasks(group, settings).items():
            try:
                figures = task()
            except Exception as error:
                figures = {'error': f'{type(error).__name__}: {str(error)[:500]}'}
            connection.send((group, title, figures))
            gc.collect()
            if settings.device == 'cuda':
                torch.cuda.empty_cache()
        connection.send((group, '', {}))


def measure(
    seconds: Mapping[str, float], settings: Settings, run: Callable = run_groups
) -> Iterator[tuple[str, str, Figures]]:
    """Group, title and figures of each task, as long as the time lasts.

    Args:
        seconds: Of each group; what one leaves is for the next.
        settings: Of the tasks.
        run: What the process does.
    """
    left, end = list(seconds), time.monotonic() + seconds[next(iter(seconds))]
    context = multiprocessing.get_context('spawn')
    while left:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=run, args=(left, settings, sender))
        process.start()
        sender.close()
        why = ''
        try:
            while left and not why:
                if not receiver.poll(max(0.0, end - time.monotonic())):
                    why = f'not done in its {seconds[left[0]]:.0f} s'
                elif (message := receiver.recv())[1]:
                    yield message
                else:
                    left.pop(0)
                    end += seconds[left[0]] if left else 0
        except EOFError:
            process.join()
            why = f'the process ended with {process.exitcode}'
        finally:
            process.kill()
        if why:
            yield left.pop(0), 'the rest', {'error': why}
            end = max(end, time.monotonic()) + (seconds[left[0]] if left else 0)


def markdown(report: dict[str, dict[str, Figures]]) -> str:
    """A report as Markdown: a section a group, an entry a task."""
    lines = []
    for group, entries in report.items():
        lines += ['', f'## {group}', '']
        for title, figures in entries.items():
            texts = (f'{k} {f"{v:.2f}" if isinstance(v, float) else v}' for k, v in figures.items())
            lines.append(f'- **{title}**: {"; ".join(texts)}')
    return '\n'.join(['# GPU report', *lines, ''])
