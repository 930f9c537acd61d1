"""Time and peak memory of calls, on a CPU or a GPU."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def clock(device: torch.device) -> float:
    """Milliseconds, after all work that a GPU was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return 1e3 * time.perf_counter()


def medians(records: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of each name over the records; a name that a record lacks counts as 0."""
    records = list(records)
    names = dict.fromkeys(name for record in records for name in record)
    return {name: statistics.median(r.get(name, 0.0) for r in records) for name in names}


def interleaved(
    calls: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device
) -> dict[str, float]:
    """Median milliseconds of calls made in turn, so that a busy machine slows all alike."""
    records: list[dict[str, float]] = []
    for _ in range(1 + repeats):
        records.append({})
        for name, call in calls.items():
            start = clock(device)
            call()
            records[-1][name] = clock(device) - start
    return medians(records[1:])


@contextmanager
def peak_memory(device: torch.device) -> Iterator[SimpleNamespace]:
    """The most bytes of torch in the block beyond those before it, afterwards in ``.bytes``."""
    peak = SimpleNamespace(bytes=0)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield peak
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'trace.json')
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    changes = [(event['ts'], event['args']) for event in events if event['name'] == '[memory]']
    changes.sort(key=lambda change: change[0])
    if changes:
        before = changes[0][1]['Total Allocated'] - changes[0][1]['Bytes']
        peak.bytes = max(0, max(args['Total Allocated'] for _, args in changes) - before)


def tensor_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of the tensors among these."""
    return sum(each.nbytes for each in tensors if isinstance(each, torch.Tensor))


def new_table(title: str, *columns: str) -> Table:
    """A table to print with ``rich``: a column of names, then columns of numbers."""
    table = Table(title=title, title_style='bold')
    for index, name in enumerate(columns):
        table.add_column(name, justify='right' if index else 'left')
    return table
