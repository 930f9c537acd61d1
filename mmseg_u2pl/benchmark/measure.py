"""Time of nested parts and peak memory of a call, on a CPU or a GPU."""

from __future__ import annotations

import functools
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


class Stopwatch:
    """Milliseconds of named parts; time in a part inside another belongs to the inner one alone.

    So the parts of a step add up to the step. On a GPU the marks are CUDA events in the current
    stream: nothing waits for the device before :meth:`take`, and a part that only the host works
    in counts as far as the device stands idle.

    Args:
        device: Where the work is done.

    Raises:
        ValueError: A device other than a CPU or a CUDA GPU.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        if self.device.type not in ('cpu', 'cuda'):
            raise ValueError(f'device={device} cannot be timed: cpu and cuda can')
        self._open: list[str] = []
        self._marks: list[tuple[str | None, Any]] = []  # which part goes on from when

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block; it may be entered often, and its times add up."""
        self._open.append(name)
        self._mark()
        try:
            yield
        finally:
            self._open.pop()
            self._mark()

    def wrap(self, function: Callable, name: str | Callable[..., str]) -> Callable:
        """The function as a part; ``name`` may tell it from the arguments of the call."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name if isinstance(name, str) else name(*args, **kwargs)):
                return function(*args, **kwargs)

        return timed

    @property
    def current(self) -> str | None:
        """The innermost part that is open."""
        return self._open[-1] if self._open else None

    def take(self) -> dict[str, float]:
        """Milliseconds of each part since the last call of this; outside of all parts."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        marks, self._marks = self._marks, []
        times: dict[str, float] = {}
        for (name, start), (_, end) in itertools.pairwise(marks):
            if name is not None:
                times[name] = times.get(name, 0.0) + self._between(start, end)
        return times

    def _mark(self) -> None:
        now: Any = time.perf_counter()
        if self.device.type == 'cuda':
            now = torch.cuda.Event(enable_timing=True)
            now.record(torch.cuda.current_stream(self.device))
        self._marks.append((self.current, now))

    def _between(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) if self.device.type == 'cuda' else 1e3 * (end - start)


def medians(records: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of each part over the records; a part that a record lacks took 0 there."""
    records = list(records)
    names = dict.fromkeys(name for record in records for name in record)
    return {name: statistics.median(own.get(name, 0.0) for own in records) for name in names}


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    repeats: int,
    device: torch.device | str = 'cpu',
    warmup: int = 1,
) -> dict[str, float]:
    """Median milliseconds of calls made in turn, so that a busy machine slows all alike."""
    watch = Stopwatch(device)
    records = []
    for _ in range(warmup + repeats):
        for name, call in calls.items():
            with watch.part(name):
                call()
        records.append(watch.take())
    return medians(records[warmup:])


def peak_bytes(call: Callable[[], Any], device: torch.device | str) -> int:
    """The most bytes that torch holds during a call beyond those it held before.

    On a CPU torch's own allocations are followed by its profiler; memory of numpy does not count.
    """
    device = torch.device(device)
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'trace.json')
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    changes = [(event['ts'], event['args']) for event in events if event['name'] == '[memory]']
    changes.sort(key=lambda change: change[0])
    if not changes:
        return 0
    before = changes[0][1]['Total Allocated'] - changes[0][1]['Bytes']
    return max(0, max(own['Total Allocated'] for _, own in changes) - before)


def tensor_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of the tensors among these."""
    return sum(own.nbytes for own in tensors if isinstance(own, torch.Tensor))
