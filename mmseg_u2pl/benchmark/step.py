"""The parts of a training step of U²PL, and its time over that of its networks alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.table import Table
from torch import Tensor

from ..models import U2PL
from ..models.segmentors import u2pl
from .loss import fill_bank
from .measure import MIB, Stopwatch, medians, peak_bytes, tensor_bytes

WAIT = 'data wait'
UNSUPERVISED = 'unsupervised loss'
REST = 'rest'
TEACHER = 'teacher passes'
STUDENT = 'student forward'
PARTS = (
    WAIT, 'to the device', TEACHER, 'pseudo-labels', 'mixing', STUDENT, 'supervised loss',
    UNSUPERVISED, 'contrastive loss', 'backward', 'optimizer', 'EMA', REST,
)  # fmt: skip
"""Of a step, in its order; the rest is glue, hooks and logging."""


class StepResult(NamedTuple):
    """Medians in milliseconds, memory in bytes."""

    parts: dict[str, float]
    step: float  # without the wait for data
    networks: float  # teacher forwards, student forward and backward alone
    images: int  # a step
    memory: dict[str, int]

    @property
    def overhead(self) -> float:
        """Time of a step over that of its networks alone."""
        return self.step / self.networks

    @property
    def images_per_second(self) -> float:
        """Of training, the wait for data included."""
        return 1e3 * self.images / (self.step + self.parts.get(WAIT, 0.0))


def prepare(cfg: Config, work_dir: str, iterations: int) -> None:
    """Make a training config one to measure: random weights, no warm-up, no scores.

    Args:
        cfg: Changed in place.
        work_dir: For what the runner writes.
        iterations: How many.

    Raises:
        ValueError: The config has no training data.
    """
    if not cfg.get('train_dataloader'):
        raise ValueError('the config has no train_dataloader')
    cfg.work_dir = cfg.experiment_name = work_dir  # mmengine keeps loggers by name
    cfg.log_level = 'ERROR'
    cfg.visualizer = None
    for phase in ('val', 'test'):
        for kind in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{phase}_{kind}'] = None
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
    cfg.default_hooks = {**cfg.get('default_hooks', {}), 'checkpoint': None}
    cfg.default_hooks.pop('visualization', None)
    cfg.model.warmup_iters = 0
    cfg.model.pretrained = None
    backbone = cfg.model.backbone
    backbone.pop('init_cfg', None)
    if backbone.get('pretrained') is True:
        backbone.pretrained = False


class _Timed:
    """An iterator whose every item is waited for in a part of its own."""

    def __init__(self, items: Iterator, watch: Stopwatch) -> None:
        self._next = watch.wrap(lambda: next(items), WAIT)

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        return self._next()


class StepBenchmark:
    """Measure the steps of a runner from outside: methods are wrapped, models know nothing of it.

    Steps and passes of the networks alone take turns in blocks. Within a block steps follow each
    other as in training, so the wait for data is that of training too. One more step at the end
    tells the memory.

    Args:
        runner: Of a config that :func:`prepare` has seen, with one iteration more than steps.
        warmup: Steps that do not count.
        block: Steps in a row, then as many passes of the networks alone.

    Raises:
        TypeError: The model is no ``U2PL``.
    """

    def __init__(self, runner: Runner, warmup: int, block: int) -> None:
        model = runner.model
        if not isinstance(model, U2PL):
            raise TypeError(
                f'the parts of a step are those of U2PL and its subclasses, and '
                f'{type(model).__name__} is none'
            )
        self.runner, self.model = runner, model
        self.warmup, self.block = warmup, block
        self.device = next(model.parameters()).device
        self.watch = Stopwatch(self.device)
        self.steps: list[dict[str, float]] = []
        self.networks: list[float] = []
        self.peak = 0
        self._teacher_calls: list[Callable[[], Any]] = []  # of the last step
        self._student_calls: list[Callable[[], Any]] = []

    def run(self) -> StepResult:
        """Train and measure."""
        runner = self.runner
        loop: Any = runner.train_loop
        self.model.mix_prob = 1.0  # steps of two kinds would have no median
        if self.model.contrastive is not None:
            fill_bank(self.model.contrastive)
        loop.dataloader_iterator = _Timed(loop.dataloader_iterator, self.watch)
        run_iter = loop.run_iter
        with ExitStack() as stack:

            def measured(batch: Any) -> None:
                if not self.steps:  # the runner has built everything by now
                    self._wrap(stack)
                self._step(run_iter, batch)

            stack.enter_context(mock.patch.object(loop, 'run_iter', measured))
            runner.train()
        counted = self.steps[self.warmup :]
        return StepResult(
            parts=medians(counted),
            step=statistics.median(sum(own.values()) - own[WAIT] for own in counted),
            networks=statistics.median(self.networks),
            images=loop.dataloader.batch_size,
            memory=self._memory(),
        )

    def _step(self, run_iter: Callable[[Any], None], batch: Any) -> None:
        """One iteration of the training loop, measured."""
        self._teacher_calls.clear()
        self._student_calls.clear()
        if len(self.steps) + 1 == self.runner.max_iters:
            self.peak = peak_bytes(lambda: run_iter(batch), self.device)
            return
        with self.watch.part(REST):
            run_iter(batch)
        self.steps.append(self.watch.take())
        counted = len(self.steps) - self.warmup
        if counted > 0 and counted % self.block == 0:
            self.networks += [self._networks_alone() for _ in range(self.block)]

    def _networks_alone(self) -> float:
        """Milliseconds of the last step's teacher forwards, student forward and its backward."""
        wrapper = self.runner.optim_wrapper
        with self.watch.part('networks'):
            with wrapper.optim_context(self.model):
                for teach in self._teacher_calls:
                    teach()
                outputs = [own for call in self._student_calls for own in call()]
            torch.autograd.backward(outputs, [torch.ones_like(own) for own in outputs])
        time = sum(self.watch.take().values())
        wrapper.optimizer.zero_grad()
        return time

    def _wrap(self, stack: ExitStack) -> None:
        """Name the parts; what is nested belongs to the inner part."""
        model, wrapper, watch = self.model, self.runner.optim_wrapper, self.watch
        teach, extract, decode = model._teach, model.extract_feat, model.decode

        def seen_teach(images: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._teacher_calls.append(lambda: teach(images, *args, **kwargs))
            return teach(images, *args, **kwargs)

        def seen_extract(images: Tensor) -> Any:
            self._student_calls.append(
                lambda: [own for own in decode(model, extract(images)) if own is not None]
            )
            return extract(images)

        places: list[tuple[Any, str, Callable, str | Callable[..., str]]] = [
            (owner, name, getattr(owner, name), part)
            for owner, name, part in (
                (model.data_preprocessor, 'forward', 'to the device'),
                (model, '_mix', 'mixing'),
                (model, '_one_teacher_pass', 'mixing'),  # of what the teacher says
                (model, '_pseudo_label', 'pseudo-labels'),
                (model, '_entropy', 'pseudo-labels'),
                (model, 'unreliable', 'pseudo-labels'),
                (model, 'supervised_losses', 'supervised loss'),
                (u2pl, 'consistency_loss', UNSUPERVISED),
                (model, '_probability', 'contrastive loss'),
                (wrapper, 'backward', 'backward'),
                (wrapper, 'step', 'optimizer'),
                (wrapper, 'zero_grad', 'optimizer'),
                (model.teacher, 'update', 'EMA'),
            )
        ]
        if model.contrastive is not None:
            places.append(
                (model.contrastive, 'forward', model.contrastive.forward, 'contrastive loss')
            )
        places += [
            (model, '_teach', seen_teach, TEACHER),
            (model, 'extract_feat', seen_extract, STUDENT),
            (model, 'decode', decode, lambda net, *_: STUDENT if net is model else TEACHER),
            # the step itself enlarges only what L_u is computed from
            (model, 'upsample', model.upsample,
             lambda *_: UNSUPERVISED if watch.current == REST else str(watch.current)),
        ]  # fmt: skip
        for owner, name, function, part in places:
            stack.enter_context(mock.patch.object(owner, name, watch.wrap(function, part)))

    def _memory(self) -> dict[str, int]:
        """Bytes that stay, by owner, and those that a step takes beyond."""
        own = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        places = {'teacher': 'teacher.', 'bank': 'contrastive.bank.'}
        sizes = {
            place: tensor_bytes(value for name, value in own.items() if name.startswith(prefix))
            for place, prefix in places.items()
        }
        student = tensor_bytes(own.values()) - sum(sizes.values())
        states = self.runner.optim_wrapper.optimizer.state.values()
        optimizer = sum(tensor_bytes(state.values()) for state in states)
        rest = 'activations, gradients, temporaries'
        return {'student': student, 'optimizer': optimizer, **sizes, rest: self.peak}


def step_table(result: StepResult, title: str) -> Table:
    """The parts of a step with their shares, and the memory."""
    table = Table(title=title, title_style='bold', caption='medians; memory of torch at its peak')
    for name, justify in (('a step', 'left'), ('ms', 'right'), ('share', 'right')):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in PARTS:
        if name in result.parts and name != WAIT:
            time = result.parts[name]
            table.add_row(name, f'{time:.1f}', f'{time / result.step:.1%}')
    table.add_section()
    table.add_row('step', f'{result.step:.1f}', '100 %', style='bold')
    table.add_row('its networks alone', f'{result.networks:.1f}', '')
    table.add_row('overhead = step / networks', '', f'{result.overhead:.2f}', style='bold')
    table.add_row('wait for data', f'{result.parts[WAIT]:.1f}', '')
    table.add_row('images a second', '', f'{result.images_per_second:.1f}')
    table.add_section()
    whole = sum(result.memory.values())
    for name, size in result.memory.items():
        table.add_row(name, f'{size / MIB:.0f} MiB', f'{size / whole:.0%}')
    table.add_row('peak memory', f'{whole / MIB:.0f} MiB', '', style='bold')
    return table
