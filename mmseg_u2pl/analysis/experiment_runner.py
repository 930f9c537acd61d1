"""Run a list of experiments, one process a core or GPU."""

import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress

from ..cli import cores
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
    return [one_thread] * (jobs or cores())


def run_all(
    worker: Worker, experiments: Sequence[Experiment], jobs: int | None, console: Console
) -> list[dict[str, Any]]:
    """Run what has no result, and show progress and time left; the records of what was run.

    A run that another process works on is looked at again after the others.
    """
    records: list[dict[str, Any]] = []
    results = read_results(worker.results)
    waiting = deque(e for e in experiments if not is_done(e.settings, results))
    console.print(f'{len(experiments)} runs, {len(experiments) - len(waiting)} have a result')
    lengths = {e.folder: _iterations(e, worker) for e in waiting}
    bars = Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console,
                    speed_estimate_period=3600)  # fmt: skip

    def iteration(folder: str) -> int:
        return min(RunFolder(worker.work_dir / folder).iteration, lengths[folder])

    done = {folder: iteration(folder) for folder in lengths}
    whole = bars.add_task('iterations', total=sum(lengths.values()), completed=sum(done.values()))

    def work(slot: dict[str, str]) -> None:
        while not worker.stopped:
            try:
                experiment = waiting.popleft()
            except IndexError:
                return
            if (record := worker.run(experiment, slot)) is None:
                time.sleep(POLL)
                waiting.append(experiment)
                continue
            if worker.stopped:
                return
            records.append(record)
            if record.get('added') and 'error' not in record:
                done[experiment.folder] = lengths[experiment.folder]
            else:  # nobody works on what is left of it, so it says nothing of the speed
                left = lengths[experiment.folder] - done.get(experiment.folder, 0)
                bars.update(whole, total=(bars.tasks[0].total or 0) - left)
            console.print(_line(experiment, record), soft_wrap=True)
            if (seconds := bars.tasks[0].time_remaining) is not None:
                console.print(f'{len(waiting)} wait, all take about {seconds / 3600:.1f} hours')

    places = slots(jobs)
    with bars, ThreadPoolExecutor(len(places)) as pool:
        threads = [pool.submit(work, slot) for slot in places]
        try:
            while (state := wait(threads, POLL, FIRST_EXCEPTION)).not_done:
                for thread in state.done:
                    thread.result()  # raises what went wrong in it
                done.update((folder, iteration(folder)) for folder in list(worker.active))
                bars.update(whole, completed=sum(done.values()))
        except BaseException:
            worker.stop()
            raise
        bars.update(whole, completed=sum(done.values()))
        for thread in threads:
            thread.result()
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


def _iterations(experiment: Experiment, worker: Worker) -> int:
    """Length of a run; 0 if its config does not load, as its log will say."""
    try:
        return worker.load(experiment).train_cfg.max_iters
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
