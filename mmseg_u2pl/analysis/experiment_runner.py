"""Run a list of experiments, one process a core or GPU."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress

from .experiment_worker import Worker
from .experiments import Experiment, is_done, read_results
from .run_folder import RunFolder

POLL = 5.0
"""Seconds between looks at what runs."""


def slots(jobs: int | None) -> list[dict[str, str]]:
    """Environment variables of each of ``jobs`` processes; None: one a GPU, or one a core."""
    if torch.cuda.is_available():
        shown = os.environ.get('CUDA_VISIBLE_DEVICES') or ','.join(
            map(str, range(torch.cuda.device_count()))
        )
        devices = shown.split(',')
        chosen = (devices[i % len(devices)] for i in range(jobs or len(devices)))
        return [dict(CUDA_VISIBLE_DEVICES=device) for device in chosen]
    one_thread = dict(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    return [one_thread] * (jobs or os.cpu_count() or 1)


def run_all(
    worker: Worker, experiments: Sequence[Experiment], jobs: int | None, console: Console
) -> list[dict[str, Any]]:
    """Run what has no result, and show progress and time left; the records of what was run.

    A run that another process works on is looked at again after the others.
    """
    records: list[dict[str, Any]] = []
    done = read_results(worker.results)
    waiting = [e for e in experiments if not is_done(e.settings, done)]
    console.print(f'{len(experiments)} runs, {len(experiments) - len(waiting)} have a result')
    lengths = {e.folder: _iterations(e, worker.root) for e in waiting}
    free: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
    for slot in slots(jobs):
        free.put(slot)

    def one(experiment: Experiment) -> dict[str, Any] | None:
        slot = free.get()
        try:
            record = worker.run(experiment, slot)
            if record is None:
                time.sleep(POLL)
            return record
        finally:
            free.put(slot)

    def iteration(folder: str) -> int:
        return min(RunFolder(worker.work_dir / folder).iteration, lengths[folder])

    bars = Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console,
                    speed_estimate_period=3600)  # fmt: skip
    with bars, ThreadPoolExecutor(free.qsize()) as pool:
        now = {folder: iteration(folder) for folder in lengths}
        whole = bars.add_task('all', total=sum(lengths.values()), completed=sum(now.values()))
        tasks = {f: bars.add_task(f, total=n, visible=False) for f, n in lengths.items()}
        running: dict[Future, Experiment] = {pool.submit(one, e): e for e in waiting}
        try:
            while running:
                for future in wait(running, POLL, FIRST_COMPLETED).done:
                    experiment = running.pop(future)
                    if (record := future.result()) is None:
                        running[pool.submit(one, experiment)] = experiment
                        continue
                    records.append(record)
                    now[experiment.folder] = lengths[experiment.folder]
                    bars.update(whole, completed=sum(now.values()))
                    bars.update(tasks[experiment.folder], visible=False)
                    bars.console.print(_line(experiment, record), soft_wrap=True)
                    left = bars.tasks[0].time_remaining
                    if running and left is not None:
                        bars.console.print(f'{len(running)} left, about {left / 3600:.1f} hours')
                for experiment in running.values():
                    folder = experiment.folder
                    now[folder] = iteration(folder)
                    active = folder in worker.active
                    bars.update(tasks[folder], completed=now[folder], visible=active)
                bars.update(whole, completed=sum(now.values()))
        except BaseException:
            worker.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return records


def run_or_exit(
    worker: Worker, experiments: Sequence[Experiment], jobs: int | None, console: Console
) -> None:
    """:func:`run_all` for a command line; SystemExit if it was interrupted or a run failed."""
    try:
        records = run_all(worker, experiments, jobs, console)
    except KeyboardInterrupt:
        raise SystemExit('stopped; the same command continues') from None
    if any('error' in record for record in records):
        raise SystemExit(1)


def _iterations(experiment: Experiment, root: Path) -> int:
    """Length of a run; 0 if its config does not load, as its log will say."""
    try:
        return experiment.load(root).train_cfg.max_iters
    except (Exception, SystemExit):
        return 0


def _line(experiment: Experiment, record: dict[str, Any]) -> str:
    """What became of a run."""
    if 'error' in record:
        return f'[red]{experiment.folder} failed[/]: {escape(record["error"].splitlines()[-1])}'
    if not record['added']:
        return f'{experiment.folder}: has a result'
    predictor = record['predictor']
    return f'{experiment.folder}: {predictor} {record["test"][predictor]["mIoU"]:.1f} mIoU on test'
