"""The parts of a training step of any method, and its memory."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.table import Table
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from .measure import MIB, clock, medians, new_table, peak_memory, tensor_bytes

SCOPE = 'semi/'
"""How the names of ``torch.profiler.record_function`` in a method's step begin."""
TORCH_PARTS = {'autograd::engine::evaluate_function': 'backward', 'Optimizer.': 'optimizer'}
"""Parts that torch names, by how the names of its events begin."""
NETWORKS = ('teacher', 'student', 'backward')


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
    cfg.default_hooks = {**cfg.default_hooks, 'checkpoint': None}
    cfg.default_hooks.pop('visualization', None)
    if 'warmup_iters' in cfg.model:
        cfg.model.warmup_iters = 0
    cfg.model.pretrained = None
    cfg.model.backbone.pop('init_cfg', None)
    if cfg.model.backbone.get('pretrained') is True:
        cfg.model.backbone.pretrained = False  # or it downloads


class StepProbe(Hook):
    """Time steps with and without torch's profiler in turn; the last step tells the memory.

    Args:
        warmup: Steps that do not count.
        device: Of the model.
    """

    priority = 'LOWEST'  # a step ends after all other hooks

    def __init__(self, warmup: int, device: torch.device) -> None:
        self.warmup, self.device = warmup, device
        self.waits: list[float] = []  # for data, milliseconds
        self.steps: list[float] = []  # without the profiler, milliseconds
        self.parts: list[dict[str, float]] = []
        self.peak: Any = None
        self._watching = ExitStack()
        self._end = 0.0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the profiler, then the clock."""
        if batch_idx >= self.warmup:
            self.waits.append(clock(self.device) - self._end)
        self._profiler = None
        if batch_idx + 1 == runner.max_iters:
            self.peak = self._watching.enter_context(peak_memory(self.device))
        elif (batch_idx - self.warmup) % 2:  # one before the first that counts: it starts slowly
            cuda = [ProfilerActivity.CUDA] if self.device.type == 'cuda' else []
            settings = profile(activities=[ProfilerActivity.CPU, *cuda])
            self._profiler = self._watching.enter_context(settings)
        self._start = clock(self.device)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop the clock, then the profiler."""
        time = clock(self.device) - self._start
        self._watching.close()
        if batch_idx >= self.warmup and self._profiler is not None:
            parts = part_times(self._profiler.events(), self.device)
            self.parts.append({**parts, 'rest': time - sum(parts.values())})
        elif batch_idx >= self.warmup and self.peak is None:
            self.steps.append(time)
        self._end = clock(self.device)


def part_times(events: Iterable[Any], device: torch.device) -> dict[str, float]:
    """Milliseconds of each part, in order; what is inside a part belongs to the outer one."""

    def part(event: Any) -> str | None:
        if event.name.startswith(SCOPE):
            return event.name.removeprefix(SCOPE)
        return next((name for key, name in TORCH_PARTS.items() if event.name.startswith(key)), None)

    times: dict[str, float] = {}
    for event in events:
        name, outer = part(event), event.cpu_parent
        if name is None or event.device_type != DeviceType.CPU:
            continue
        while outer is not None and part(outer) is None:
            outer = outer.cpu_parent
        if outer is None:
            time = event.device_time_total if device.type == 'cuda' else event.cpu_time_total
            times[name] = times.get(name, 0.0) + time / 1e3
    return times


def measure_step(runner: Runner, warmup: int) -> Table:
    """Train ``warmup`` + 2·repeats + 1 steps of a config that :func:`prepare` has seen."""
    model: Any = runner.model
    probe = StepProbe(warmup, next(model.parameters()).device)
    runner.register_hook(probe)
    runner.train()
    loader: Any = runner.train_dataloader
    parts, step = medians(probe.parts), statistics.median(probe.steps)
    profiled, wait = sum(parts.values()), statistics.median(probe.waits)
    networks = sum(parts.get(name, 0.0) for name in NETWORKS)
    table = new_table(f'{loader.batch_size} images a step, medians', 'a step', 'ms', 'share')
    for name, time in parts.items():
        table.add_row(name, f'{time:.1f}', f'{time / profiled:.1%}')
    table.add_section()
    table.add_row('without the profiler', f'{step:.1f}', '', style='bold')
    table.add_row('overhead = step / networks', '', f'{profiled / networks:.2f}', style='bold')
    table.add_row('wait for data', f'{wait:.1f}', '')
    table.add_row('images a second', '', f'{1e3 * loader.batch_size / (step + wait):.1f}')
    table.add_section()
    optimizer: Any = runner.optim_wrapper.optimizer
    kept = [*model.parameters(), *model.buffers()]
    for part in getattr(optimizer, 'parts', {'all': optimizer}).values():
        kept += [value for state in part.state.values() for value in state.values()]
    size = tensor_bytes(kept)
    table.add_row('memory of model and optimizer', f'{size / MIB:.0f} MiB', '')
    table.add_row('peak memory', f'{(size + probe.peak.bytes) / MIB:.0f} MiB', '', style='bold')
    return table
