"""Parts of a step: by hand, and of tiny runs."""

import itertools
from types import SimpleNamespace

import cross
import pytest
import runs
import tiny
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.autograd import DeviceType
from torch.profiler import profile, record_function

from mmseg_u2pl.analysis.benchmark import (
    IDLE,
    StepFigures,
    StepProbe,
    kernel_time,
    measure_step,
    part_times,
    prepare,
)

CPU = torch.device('cpu')
CLOCK = itertools.count(0, 1_000_000)


def event(name, time, parent=None, device=DeviceType.CPU, start=None):
    """``time`` microseconds on the CPU, from ``start`` or after all others, twice as many on the device."""
    start = next(CLOCK) if start is None else start
    return SimpleNamespace(
        name=name, cpu_parent=parent, device_type=device, cpu_time_total=time,
        device_time_total=2 * time, self_device_time_total=2 * time,
        is_user_annotation=name.startswith('semi/'),
        time_range=SimpleNamespace(start=start, end=start + time),
    )  # fmt: skip


def test_what_is_inside_a_part_belongs_to_the_outer_one():
    loss = event('semi/loss', 7000)
    between = event('aten::sum', 100, loss)
    events = [
        event('semi/teacher', 1000),
        loss,
        between,
        event('autograd::engine::evaluate_function: MulBackward0', 3000, between),
        event('semi/views', 500, loss),
        event('autograd::engine::evaluate_function: AddBackward0', 2000),
        event('autograd::engine::evaluate_function: MulBackward0', 250),
        event('Optimizer.step#SGD.step', 4000),
        event('semi/teacher', 1000),
        event('semi/teacher', 800, device=DeviceType.CUDA),  # the GPU's view of the same
        event('aten::add', 9000),
    ]
    parts = {'teacher': 2.0, 'loss': 7.0, 'backward': 2.25, 'optimizer': 4.0}
    assert part_times(events, CPU) == pytest.approx(parts)
    doubled = {name: 2 * time for name, time in parts.items()}
    assert part_times(events, torch.device('cuda')) == pytest.approx(doubled)


def test_the_backward_of_a_loss_within_its_part_runs_in_another_thread():
    backward = 'autograd::engine::evaluate_function: MulBackward0'
    events = [
        event('semi/contrastive loss', 5000, start=0),
        event('semi/selection', 400, start=100),  # within it: the outer one counts
        event(backward, 1000, start=200),
        event(backward, 3000, start=6000),
    ]
    events[1].cpu_parent = events[0]
    parts = part_times(events, torch.device('cuda'))
    assert parts == pytest.approx({'contrastive loss': 10 + 2, 'backward': 6})


def test_kernels_count_once():
    events = [
        event('semi/teacher', 1000),
        event('aten::conv2d', 900),
        event('sm90_conv', 400, device=DeviceType.CUDA),
        event('Memcpy HtoD', 100, device=DeviceType.CUDA),
        event('semi/teacher', 800, device=DeviceType.CUDA),  # spans the kernels
    ]
    assert kernel_time(events) == pytest.approx(1.0)


def test_a_gpu_that_waits_is_no_overhead_of_a_method():
    parts = {'teacher': 2.0, 'student': 3.0, 'backward': 5.0, 'selection': 1.0, IDLE: 9.0}
    figures = StepFigures(8, parts, held_bytes=0, peak_bytes=0)
    assert figures.step == pytest.approx(20)
    assert figures.overhead == pytest.approx(1.1)


def test_the_names_are_those_of_torchs_profiler():
    weight = torch.nn.Parameter(torch.randn(50, 50))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with profile() as profiler:
        with record_function('semi/student'):
            loss = (weight @ weight).sum()
        loss.backward()
        optimizer.step()
    parts = part_times(profiler.events(), CPU)
    assert list(parts) == ['student', 'backward', 'optimizer']
    assert min(parts.values()) > 0


def measured(cfg, work_dir, warmup=1, repeats=2):
    prepare(cfg, str(work_dir / 'run'), iterations=warmup + repeats + 1)
    runner = Runner.from_cfg(cfg)
    table = measure_step(runner, warmup)
    probe = next(hook for hook in runner.hooks if isinstance(hook, StepProbe))
    return runner, probe, list(table.columns[0].cells)


EVERY_METHOD = {'teacher', 'student', 'supervised loss', 'backward', 'optimizer', 'rest'}


@pytest.mark.parametrize(
    ('kind', 'parts'),
    [
        ('U2PL', {'selection', 'views', 'unsupervised loss', 'contrastive loss', 'EMA'}),
        ('RRN', {'unsupervised loss', 'discriminators'}),  # two optimizers
    ],
)
def test_every_part_of_a_step_is_measured(data_root, tmp_path, kind, parts):
    if kind == 'U2PL':
        cfg = runs.config(data_root, tmp_path)
    else:
        cfg = cross.runner(data_root, tmp_path, kind).cfg
    runner, probe, rows = measured(cfg, tmp_path)
    assert (runner.iter, len(probe.parts)) == (4, 2)
    for found in probe.parts:
        assert EVERY_METHOD | parts <= set(found)
        assert min(found.values()) > 0  # the rest, too: no part counts twice
    assert parts <= set(rows)
    trained = sum(p.nbytes for p in runner.model.parameters() if p.requires_grad)
    assert probe.peak_bytes > trained  # gradients at least


def test_nothing_to_train_on():
    with pytest.raises(ValueError, match='no train_dataloader'):
        prepare(Config(dict(model=tiny.u2pl_config())), 'run', 1)
