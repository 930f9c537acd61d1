"""The parts of a training step of any method, and its memory."""

import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.table import Table
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from .tables import new_table, percent

MIB = 2**20
SCOPE = 'semi/'
"""How the names of ``torch.profiler.record_function`` in a method's step begin."""
TORCH_PARTS = {'autograd::engine::evaluate_function': 'backward', 'Optimizer.': 'optimizer'}
"""Parts that torch names, by how the names of its events begin."""
NETWORKS = ('teacher', 'student', 'backward')
IDLE = 'GPU waits for the host'


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


def prepare(cfg: Config, work_dir: str, iterations: int) -> None:
    """Make a training config one to measure: random weights, no warm-up, no scores.

    Raises:
        ValueError: The config has no training data.
    """
    if not cfg.get('train_dataloader'):
        raise ValueError('the config has no train_dataloader')
    cfg.work_dir = cfg.experiment_name = work_dir  # mmengine keeps loggers by name
    cfg.log_level, cfg.visualizer = 'ERROR', None
    for phase in ('val', 'test'):
        for kind in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{phase}_{kind}'] = None
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
    # the logger would reset the peak of a GPU's memory
    cfg.default_hooks = {**cfg.default_hooks, 'checkpoint': None, 'logger': None}
    cfg.default_hooks.pop('visualization', None)
    if 'warmup_iters' in cfg.model:
        cfg.model.warmup_iters = 0
    cfg.model.pretrained = None
    cfg.model.backbone.pop('init_cfg', None)
    if cfg.model.backbone.get('pretrained') is True:
        cfg.model.backbone.pretrained = False  # or it downloads


class StepProbe(Hook):
    """Profile the steps after a warm-up; the last step tells the memory.

    Args:
        warmup: Steps that do not count, at least one: the profiler starts slowly.
        device: Of the model.
    """

    priority = 'LOWEST'  # a step ends after all other hooks

    def __init__(self, warmup: int, device: torch.device) -> None:
        self.warmup, self.device = warmup, device
        self.parts: list[dict[str, float]] = []  # milliseconds of each step's parts

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the profiler, then the clock."""
        last = batch_idx + 1 == runner.max_iters
        self._watch: Any = peak_memory(self.device) if last else profile()
        self._watched = self._watch.__enter__()
        self._start = clock(self.device)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop the clock, then the profiler."""
        elapsed = clock(self.device) - self._start
        self._watch.__exit__(None, None, None)
        if batch_idx + 1 == runner.max_iters:
            self.peak_bytes = self._watched.bytes
        elif batch_idx >= self.warmup:
            events = self._watched.events()
            parts = part_times(events, self.device)
            if self.device.type == 'cuda':
                parts[IDLE] = elapsed - kernel_time(events)
            self.parts.append({**parts, 'rest': elapsed - sum(parts.values())})


def part_times(events: Iterable[Any], device: torch.device) -> dict[str, float]:
    """Milliseconds of each part, in order; what is inside a part belongs to the outer one.

    The backward of a loss within its part runs in a thread of its own on a GPU, while the part waits.
    """
    events = [event for event in events if event.device_type == DeviceType.CPU]
    scopes = [event for event in events if event.name.startswith(SCOPE)]

    def part(event: Any) -> str | None:
        if event.name.startswith(SCOPE):
            return event.name.removeprefix(SCOPE)
        return next((name for key, name in TORCH_PARTS.items() if event.name.startswith(key)), None)

    times: dict[str, float] = {}
    for event in events:
        name, outer = part(event), event.cpu_parent
        if name is None:
            continue
        while outer is not None and part(outer) is None:
            outer = outer.cpu_parent
        if outer is None:
            spent = event.device_time_total if device.type == 'cuda' else event.cpu_time_total
            start = event.time_range.start
            around = [s for s in scopes if s.time_range.start <= start < s.time_range.end]
            if around:
                name = part(min(around, key=lambda scope: scope.time_range.start)) or name
            times[name] = times.get(name, 0.0) + spent / 1e3
    return times


def kernel_time(events: Iterable[Any]) -> float:
    """Milliseconds of all kernels and copies of a GPU."""
    kernels = (e for e in events if e.device_type == DeviceType.CUDA and not e.is_user_annotation)
    return sum(kernel.self_device_time_total for kernel in kernels) / 1e3


class StepFigures(NamedTuple):
    """What a training step takes, medians over steps; times are with the profiler."""

    batch_size: int
    parts: dict[str, float]  # milliseconds
    held_bytes: int  # model and optimizer
    peak_bytes: int  # those included

    @property
    def step(self) -> float:
        """Milliseconds of a step."""
        return sum(self.parts.values())

    @property
    def overhead(self) -> float | None:
        """A step over its teacher's and student's forwards and the backward; of a GPU, its kernels.

        None for a segmentor of mmseg, such as a baseline, whose forward has no name.
        """
        if 'student' not in self.parts:
            return None
        busy = self.step - self.parts.get(IDLE, 0.0)
        return busy / sum(self.parts.get(name, 0.0) for name in NETWORKS)


def step_figures(runner: Runner, warmup: int) -> StepFigures:
    """Train ``warmup`` + repeats + 1 steps of a config that :func:`prepare` has seen."""
    model: Any = runner.model
    probe = StepProbe(warmup, next(model.parameters()).device)
    runner.register_hook(probe)
    runner.train()
    names = dict.fromkeys(name for parts in probe.parts for name in parts)
    medians = {n: statistics.median(parts.get(n, 0.0) for parts in probe.parts) for n in names}
    optimizer: Any = runner.optim_wrapper.optimizer
    held = [*model.parameters(), *model.buffers()]
    for part in getattr(optimizer, 'parts', {'all': optimizer}).values():
        held += [value for state in part.state.values() for value in state.values()]
    size = sum(value.nbytes for value in held if isinstance(value, torch.Tensor))
    loader: Any = runner.train_dataloader
    return StepFigures(loader.batch_size, medians, size, size + probe.peak_bytes)


def measure_step(runner: Runner, warmup: int) -> Table:
    """A table of :func:`step_figures`."""
    figures = step_figures(runner, warmup)
    title = f'{figures.batch_size} images a step, medians, with the profiler'
    table = new_table(title, 'a step', 'ms', 'share, %')
    for name, spent in {**figures.parts, 'step': figures.step}.items():
        table.add_row(name, f'{spent:.1f}', percent(spent / figures.step))
    table.add_section()
    if figures.overhead is not None:
        table.add_row('overhead = step / networks', f'{figures.overhead:.2f}', style='bold')
    table.add_row('memory of model and optimizer', f'{figures.held_bytes / MIB:.0f} MiB')
    table.add_row('peak memory', f'{figures.peak_bytes / MIB:.0f} MiB', style='bold')
    return table
