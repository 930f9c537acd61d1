"""What is measured on a GPU: steps, waiting, losses, memory and ``torch.compile``.

The paper's network with random weights, on generated scenes.
"""

import gc
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from torch.profiler import profile, record_function

from ..functional import IGNORE, reliable_loss
from .benchmark import MIB, clock, peak_memory, prepare, step_figures

CONFIGS = {
    'U2PL': 'u2pl/u2pl_r101-d8_voc12-513x513.py',
    'FixMatch': 'fixmatch/fixmatch_r101-d8_voc12-513x513.py',
    'supervised': 'supervised/supervised_r101-d8_voc12-513x513.py',
}
CHANNELS_LAST = {'model.data_preprocessor.channels_last': True}
CHECKPOINTING = {'model.backbone.with_cp': True}
# From the fastest to the smallest; images a step and options. 1 + 1 is refused: DeepLab pools an image to a
# pixel, whose BatchNorm needs two.
SMALLER = {
    '4 + 4': (4, {}),
    '4 + 4, with_cp': (4, CHECKPOINTING),
    '2 + 2': (2, {}),
    '2 + 2, with_cp': (2, CHECKPOINTING),
}
SMALL_GPU = 12e9 - 0.6e9
"""Bytes that torch may take of a GPU with 12 GB; the rest is the driver's."""
WAITS = ('cudaStreamSynchronize', 'cudaDeviceSynchronize', 'cudaEventSynchronize')
"""Events at which the host waits for a GPU."""
READS = ('aten::_local_scalar_dense',)
"""The same without a GPU: a number is read."""

GROUPS = ('steps', 'losses', 'waiting', 'parts', '12 GB', 'compile')

Figures = dict[str, Any]


class Settings(NamedTuple):
    """Where and how large.

    Args:
        configs: Folder of the configs.
        scenes: Folder of generated scenes.
        device: ``'cuda'`` or ``'cpu'``.
        tiny: ResNet-18, crops of 65², a few steps: a rehearsal.
    """

    configs: Path
    scenes: Path
    device: str
    tiny: bool

    @property
    def repeats(self) -> int:
        """Steps that count."""
        return 2 if self.tiny else 12


def build(
    settings: Settings, method: str, iterations: int, images: int = 4,
    options: dict[str, Any] = CHANNELS_LAST, hooks: tuple[Hook, ...] = (),
) -> Runner:  # fmt: skip
    """A runner of a method in mixed precision on generated scenes, ``images`` labeled ones a step."""
    cfg = Config.fromfile(settings.configs / CONFIGS[method])
    for stream in (cfg.train_dataloader.dataset.labeled, cfg.train_dataloader.dataset.unlabeled):
        if stream is not None:
            stream.update(data_root=str(settings.scenes), ann_file='splits/unlabeled.txt')
            stream.data_prefix.img_path = 'img_dir/train'
    labeled = cfg.train_dataloader.dataset.labeled
    labeled.ann_file = 'splits/labeled.txt'
    labeled.data_prefix.seg_map_path = 'ann_dir/train'
    cfg.train_dataloader.batch_size = images * (1 if method == 'supervised' else 2)
    # a process that was profiled has threads, and its forks may hang; data do not count anyway
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    if settings.device == 'cuda':
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    else:
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    cfg.merge_from_dict(options)
    if settings.tiny:
        cfg.model.backbone.update(depth=18, base_channels=8, stem_channels=8)
        cfg.model.decode_head.update(in_channels=64, low_level_channels=8, channels=16)
        cfg.model.data_preprocessor.size = (65, 65)
        for stream in (labeled, cfg.train_dataloader.dataset.unlabeled):
            if stream is not None:
                stream.pipeline[-3].crop_size = (65, 65)
        if 'contrastive' in cfg.model:
            cfg.model.contrastive.update(bank_size=600, num_anchors=8)
    prepare(cfg, f'{settings.scenes}/run{time.time_ns()}', iterations)
    init_default_scope('mmseg')
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook, 'LOWEST')
    return runner


class Watch(Hook):
    """Milliseconds of each step, without the wait for data; the last ones under a profiler if asked for."""

    def __init__(self, trace: Path | None = None) -> None:
        self.times: list[float] = []
        self.trace = trace
        self._profiler: Any = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock."""
        self.device = next(runner.model.parameters()).device
        if self.trace and batch_idx + 1 == runner.max_iters:
            self._profiler = profile(with_stack=True)
            self._profiler.__enter__()
        self._start = clock(self.device)
        self._step = record_function('step')
        self._step.__enter__()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop it."""
        self._step.__exit__(None, None, None)
        self.times.append(clock(self.device) - self._start)
        if self._profiler:
            self._profiler.__exit__(None, None, None)
            self._profiler.export_chrome_trace(str(self.trace))


def step(settings: Settings, method: str, **changes: Any) -> Figures:
    """Median time of a step without a profiler, and the most memory that torch took."""
    if settings.device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    watch = Watch()
    build(settings, method, settings.repeats + 5, hooks=(watch,), **changes).train()
    figures: Figures = {'step, ms': statistics.median(watch.times[5:])}
    if settings.device == 'cuda':
        figures['reserved, MiB'] = torch.cuda.max_memory_reserved() / MIB
        figures['allocated, MiB'] = torch.cuda.max_memory_allocated() / MIB
    return figures


def profiled(settings: Settings, method: str) -> Figures:
    """Parts of a step, its overhead, and its peak memory with that of model and optimizer."""
    warmup, steps = 2, 2 if settings.tiny else 4  # the profiler takes seconds a step
    parts = step_figures(build(settings, method, warmup + steps + 1), warmup)
    times = {f'{name}, ms': spent for name, spent in parts.parts.items()}
    if parts.overhead is not None:
        times = {'overhead': parts.overhead, **times}
    return {**times, 'peak, MiB': parts.peak_bytes / MIB}


def waiting(settings: Settings, method: str) -> Figures:
    """How often the host waits for the GPU in a step, and from where."""
    trace = settings.scenes / f'trace_{method}.json'
    build(settings, method, 6, hooks=(Watch(trace),)).train()
    names = WAITS if settings.device == 'cuda' else READS
    events = json.loads(trace.read_text())['traceEvents']
    copies = sum(event['name'].startswith('Memcpy DtoH') for event in events)
    found = waits_of(events, names)
    return {'waits': sum(found.values()), 'copies to the host': copies, **found}


def waits_of(events: list[dict], names: tuple[str, ...]) -> dict[str, int]:
    """Waits within ``step`` of a trace with stacks, by the innermost frame of a package that we know."""
    (step,) = [e for e in events if e['name'] == 'step' and e.get('cat') == 'user_annotation']
    start, end = step['ts'], step['ts'] + step['dur']
    frames = [e for e in events if e.get('cat') == 'python_function']
    frames = [e for e in frames if any(p in e['name'] for p in ('mmseg', 'mmengine', 'torch/amp'))]
    found: dict[str, int] = {}
    for event in events:
        if event['name'] not in names or not start <= event.get('ts', 0) < end:
            continue
        thread = [f for f in frames if f['tid'] == event['tid']]
        around = [f for f in thread if f['ts'] <= event['ts'] <= f['ts'] + f['dur']]
        where = max(around, key=lambda f: f['ts'])['name'] if around else 'elsewhere'
        key = f'{event["name"]} in {"/".join(where.split("/")[-3:])}'
        found[key] = found.get(key, 0) + 1
    return found


def losses(settings: Settings, num_classes: int) -> Figures:
    """Time and peak memory of L_u and L_c with their backward, on 4 + 4 random images."""
    torch.manual_seed(0)
    low, high, channels = (17, 65, 16) if settings.tiny else (129, 513, 256)
    device = torch.device(settings.device)
    blocks = torch.randint(num_classes, (8, 1, 9, 9), device=device).float()
    label = torch.nn.functional.interpolate(blocks, (high, high)).long().squeeze(1)
    small = torch.nn.functional.interpolate(blocks, (low, low)).long().squeeze(1)
    teacher = torch.randn(8, num_classes, low, low, device=device)
    teacher.scatter_add_(1, small.unsqueeze(1), torch.full_like(teacher[:, :1], 6.0))
    logits = teacher[4:].clone().requires_grad_()
    rep = torch.randn(8, channels, low, low, device=device, requires_grad=True)
    unreliable = torch.rand(label[4:].shape, device=device) < 0.2
    config = dict(type='UnreliableContrastiveLoss', num_classes=num_classes, channels=channels)
    init_default_scope('mmseg')
    contrast = MODELS.build(dict(config, bank_size=600 if settings.tiny else 30_000)).to(device)

    def unsupervised() -> None:
        reliable_loss(logits, label[4:].masked_fill(unreliable, IGNORE))[0].backward()

    def contrastive() -> None:
        contrast(rep, rep.detach(), teacher, label[:4], label[4:], unreliable).backward()

    figures: Figures = {}
    for name, run in (('L_u', unsupervised), ('L_c', contrastive)):
        times = []
        for _ in range(settings.repeats + 3):
            start = clock(device)
            run()
            times.append(clock(device) - start)
        with peak_memory(device) as peak:
            run()
        figures |= {f'{name}, ms': statistics.median(times[3:]), f'{name}, MiB': peak.bytes / MIB}
    return figures


def small_gpu(settings: Settings) -> Figures:
    """The first of :data:`SMALLER` that trains U²PL in 12 GB, and what those before it took."""
    if settings.device == 'cuda':
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, SMALL_GPU / whole))
    figures: Figures = {}
    for name, (images, options) in SMALLER.items():
        try:
            found = step(settings, 'U2PL', images=images, options=CHANNELS_LAST | options)
        except RuntimeError as error:  # out of memory, or cuDNN finds no kernel that fits
            figures[name] = f'does not fit: {type(error).__name__}: {str(error)[:80]}'
        else:
            return {**figures, name: 'fits', **found}
        gc.collect()
        torch.cuda.empty_cache()
    return figures


def compiled(settings: Settings, method: str, mode: str = 'default') -> Figures:
    """A step with compiled backbones, and how long the first steps take beyond it."""

    class Compile(Hook):
        def before_train(self, runner: Runner) -> None:
            model: Any = runner.model
            model.backbone.compile(mode=mode)
            if getattr(model, 'teacher', None) is not None:
                model.teacher.backbone.compile(mode=mode)

    watch = Watch()
    try:
        build(settings, method, settings.repeats + 5, hooks=(Compile(), watch)).train()
    finally:
        torch.compiler.reset()  # it keeps compiled code, and the memory of CUDA graphs
    median = statistics.median(watch.times[5:])
    return {'step, ms': median, 'compiling, s': (sum(watch.times[:5]) - 5 * median) / 1e3}


def machine(settings: Settings) -> Figures:
    """Names and versions."""
    cuda = settings.device == 'cuda'
    name = torch.cuda.get_device_name() if cuda else f'CPU, {torch.get_num_threads()} threads'
    return {'device': name, 'torch': torch.__version__, 'CUDA': torch.version.cuda or '-'}


def tasks(settings: Settings) -> dict[tuple[str, str], Callable[[], Figures]]:
    """What is measured, by group and title, the most important first."""

    def named(group: str, task: Callable, *names: str) -> dict:
        return {(group, name): partial(task, settings, name) for name in names}

    contiguous = partial(step, settings, 'U2PL', options={})
    checkpointing = partial(step, settings, 'U2PL', options=CHANNELS_LAST | CHECKPOINTING)
    graphs = partial(compiled, settings, 'supervised', 'reduce-overhead')
    return {
        ('steps', 'machine'): partial(machine, settings),
        **named('steps', step, 'U2PL', 'supervised', 'FixMatch'),
        **{('losses', f'{n} classes'): partial(losses, settings, n) for n in (21, 150)},
        **named('waiting', waiting, 'U2PL'),
        **named('parts', profiled, 'U2PL', 'FixMatch', 'supervised'),
        ('steps', 'U2PL, contiguous'): contiguous,
        ('steps', 'U2PL, checkpointing'): checkpointing,
        **named('waiting', waiting, 'FixMatch', 'supervised'),
        **named('compile', compiled, 'supervised', 'U2PL'),  # minutes each, as the rest
        ('compile', 'supervised, CUDA graphs'): graphs,
        ('12 GB', 'U2PL'): partial(small_gpu, settings),
    }
