"""Time and peak memory, on a CPU or a GPU."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def clock(device: torch.device) -> float:
    """Milliseconds, after all work that a GPU was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return 1e3 * time.perf_counter()


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
    changes = [e for e in events if e['name'] == '[memory]']  # each allocates or frees
    changes.sort(key=lambda event: event['ts'])
    peak.bytes = max(accumulate((e['args']['Bytes'] for e in changes), initial=0))
