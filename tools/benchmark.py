"""Measure loading, a training step of any method and the losses of U²PL: time by part, memory.

Medians over interleaved repetitions after warm-up, in one process; on a GPU if there is one.
``quick`` runs all three small, on generated scenes.
"""

from __future__ import annotations

import argparse
import operator
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # read as torch is imported
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import cv2
import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.runner import Runner
from rich.console import Console

from mmseg_u2pl.analysis.benchmark.loading import (
    measure_stream,
    stream_table,
    streams,
)
from mmseg_u2pl.analysis.benchmark.loss import COLUMNS, LossBenchmark, measure_loss
from mmseg_u2pl.analysis.benchmark.measure import new_table
from mmseg_u2pl.analysis.benchmark.scenes import use_scenes
from mmseg_u2pl.analysis.benchmark.step import measure_step, prepare
from mmseg_u2pl.cli import load_scoped_config

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
DEMO = str(CONFIGS / 'u2pl/u2pl_effnet-lite0_synthetic-96x128.py')
QUICK = (
    ('loading', DEMO, '--scenes', '96', '128',
     '--images', '16', '--repeats', '3'),
    ('step', DEMO, '--scenes', '96', '128',
     '--warmup', '2', '--repeats', '4',
     '--cfg-options', 'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False'),
    ('loss', '--classes', '2', '21', '--size', '129', '--images', '2', '--bank-size', '1000'),
)  # fmt: skip


def parse_args(words: tuple[str, ...] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)

    def command(name: str, about: str, repeats: int, config: bool = True) -> Any:
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument('--repeats', type=_positive(int), default=repeats, help='that count')
        if config:
            command.add_argument('config', help='training config file')
            command.add_argument(
                '--scenes', nargs=2, type=_positive(int), metavar=('HEIGHT', 'WIDTH'),
                help='load generated scenes of this size instead of the data',
            )  # fmt: skip
            command.add_argument('--cfg-options', nargs='+', action=DictAction, help='key=value')
        return command

    loading = command('loading', 'the pipelines of the streams', repeats=5)
    loading.add_argument('--images', type=_positive(int), default=32, help='of each stream')
    loading.add_argument('--workers', type=_positive(int), default=8, help='to project to')
    loading.add_argument('--step-ms', type=_positive(float), help='time of a training step')
    step = command('step', 'parts of a training step, overhead and memory', repeats=15)
    step.add_argument('--warmup', type=_positive(int), default=5, help='steps that do not count')
    loss = command('loss', 'losses against their reference', repeats=5, config=False)
    loss.add_argument('--classes', nargs='+', type=_positive(int), default=[2, 21, 150])
    loss.add_argument('--size', type=_positive(int), default=513, help='height and width, pixels')
    loss.add_argument('--stride', type=_positive(int), default=4, help='of representations')
    loss.add_argument(
        '--images', type=_positive(int), default=4, help='labeled, and as many unlabeled'
    )
    loss.add_argument('--channels', type=_positive(int), default=256, help='of representations')
    loss.add_argument('--bank-size', type=_positive(int), default=30_000, help='keys a class')
    commands.add_parser('quick', help='all three, small')
    return parser.parse_args(words)


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """A type of argument: a number above zero."""

    def number(text: str) -> float:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f'must be above 0, got {text}')
        return value

    return number


def main() -> None:
    """Measure and print; a user's mistake ends in one line."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    console = Console(highlight=False)
    device = torch.device(get_device())
    threads = f'{torch.get_num_threads()} threads of torch'
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {threads}'
    console.print(f'[bold]{name}[/], torch {torch.__version__}')
    everything = [parse_args(words) for words in QUICK] if args.command == 'quick' else [args]
    try:
        with tempfile.TemporaryDirectory() as folder:
            for each in everything:
                RUN[each.command](each, console, device, Path(folder))
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(' '.join(str(error).split())) from None


def load(args: argparse.Namespace, folder: Path) -> Config:
    """The config that the command line asks for."""
    cfg = load_scoped_config(args)
    if args.scenes:
        use_scenes(cfg, folder / 'scenes', *args.scenes)
    return cfg


def loading(args: argparse.Namespace, console: Console, device: torch.device, folder: Path) -> None:
    """The command ``loading``."""
    cv2.setNumThreads(0)  # as in a worker
    cfg = load(args, folder)
    totals = []
    for name, dataset in streams(cfg).items():
        times = measure_stream(dataset, args.images, args.repeats)
        totals.append(sum(times.values()))
        console.print(stream_table(name, times))
    loader = cfg.train_dataloader
    shares = loader.get('sampler', {}).get('ratio', (1, 1))[: len(totals)]
    mean = sum(map(operator.mul, shares, totals)) / sum(shares)  # milliseconds an image of a batch
    text = (
        f'{args.workers} workers, each on a core: at most {1e3 * args.workers / mean:.0f} images/s'
    )
    if args.step_ms:
        text += f'; such a step takes {1e3 * loader.batch_size / args.step_ms:.0f}'
    console.print(text)


def step(args: argparse.Namespace, console: Console, device: torch.device, folder: Path) -> None:
    """The command ``step``."""
    cfg = load(args, folder)
    prepare(cfg, str(folder / 'run'), args.warmup + 2 * args.repeats + 1)
    console.print(Path(args.config).stem)
    console.print(measure_step(Runner.from_cfg(cfg), args.warmup))


def loss(args: argparse.Namespace, console: Console, device: torch.device, folder: Path) -> None:
    """The command ``loss``."""
    keys = ('size', 'stride', 'images', 'channels', 'bank_size')
    settings = {key: getattr(args, key) for key in keys}
    small = -(-args.size // args.stride)
    table = new_table(
        f'L_u + L_c, {args.images} + {args.images} images, logits {args.size}², representations '
        f'{args.channels} × {small}², bank {args.bank_size}; ms of forward and backward, medians',
        *COLUMNS,
    )
    for classes in args.classes:
        bench = LossBenchmark(classes, **settings, device=device)
        table.add_row(str(classes), *measure_loss(bench, args.repeats))
    console.print(table)


RUN = {'loading': loading, 'step': step, 'loss': loss}


if __name__ == '__main__':
    main()
