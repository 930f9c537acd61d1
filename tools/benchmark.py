"""Measure a training step of any method and the losses of U²PL: time by part, memory.

Medians over repetitions after warm-up, in one process; on a GPU if there is one. ``quick`` runs
both small, on generated scenes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # read as torch is imported
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import torch
from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.runner import Runner
from rich.console import Console

from mmseg_u2pl.analysis.benchmark.loss import COLUMNS, LossBenchmark, measure_loss
from mmseg_u2pl.analysis.benchmark.step import measure_step, prepare
from mmseg_u2pl.analysis.tables import new_table
from mmseg_u2pl.cli import load_scoped_config
from mmseg_u2pl.prepare.synthetic import write_dataset

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
DEMO = str(CONFIGS / 'u2pl/u2pl_effnet-lite0_synthetic-96x128.py')
QUICK = (
    ('step', DEMO, '--warmup', '2', '--repeats', '4',
     '--cfg-options', 'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False'),
    ('loss', '--classes', '2', '21', '--size', '129', '--images', '2', '--bank-size', '1000'),
)  # fmt: skip


def parse_args(words: tuple[str, ...] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    step = commands.add_parser('step', help='parts of a training step, overhead and memory')
    step.add_argument('config', help='training config file')
    step.add_argument('--warmup', type=_positive, default=5, help='steps that do not count')
    step.add_argument('--repeats', type=_positive, default=15, help='steps that count')
    step.add_argument('--cfg-options', nargs='+', action=DictAction, help='key=value')
    loss = commands.add_parser('loss', help='losses against their reference implementation')
    loss.add_argument('--repeats', type=_positive, default=5, help='that count')
    loss.add_argument('--classes', nargs='+', type=_positive, default=[2, 21, 150])
    loss.add_argument('--size', type=_positive, default=513, help='height and width, pixels')
    loss.add_argument('--stride', type=_positive, default=4, help='of representations')
    loss.add_argument('--images', type=_positive, default=4, help='labeled, and as many unlabeled')
    loss.add_argument('--channels', type=_positive, default=256, help='of representations')
    loss.add_argument('--bank-size', type=_positive, default=30_000, help='keys a class')
    commands.add_parser('quick', help='both, small')
    return parser.parse_args(words)


def _positive(text: str) -> int:
    """A type of argument: an integer above zero."""
    if int(text) <= 0:
        raise argparse.ArgumentTypeError(f'must be above 0, got {text}')
    return int(text)


def main() -> None:
    """Measure and print; a user's mistake ends in one line."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    console = Console(highlight=False)
    device = torch.device(get_device())
    threads = f'{torch.get_num_threads()} threads of torch'
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {threads}'
    console.print(f'[bold]{name}[/], torch {torch.__version__}')
    try:
        with tempfile.TemporaryDirectory() as folder:
            if args.command == 'quick':
                scenes = Path(folder, 'scenes')
                write_dataset(scenes, num_labeled=16, num_unlabeled=32, num_val=1, num_test=1)
                os.environ['SYNTHETIC_ROOT'] = str(scenes)
                for words in QUICK:
                    run(parse_args(words), console, device, folder)
            else:
                run(args, console, device, folder)
    except (OSError, TypeError, ValueError) as error:
        raise SystemExit(' '.join(str(error).split())) from None


def run(args: argparse.Namespace, console: Console, device: torch.device, folder: str) -> None:
    """The command ``step`` or ``loss``."""
    if args.command == 'step':
        cfg = load_scoped_config(args)
        prepare(cfg, str(Path(folder, 'run')), args.warmup + args.repeats + 1)
        console.print(Path(args.config).stem)
        console.print(measure_step(Runner.from_cfg(cfg), args.warmup))
        return
    small = -(-args.size // args.stride)
    table = new_table(
        f'L_u + L_c, {args.images} + {args.images} images, logits {args.size}², representations '
        f'{args.channels} × {small}², bank {args.bank_size}; ms of forward and backward, medians',
        *COLUMNS,
    )
    for classes in args.classes:
        bench = LossBenchmark(
            classes, args.size, args.stride, args.images, args.channels, args.bank_size, device
        )
        table.add_row(str(classes), *measure_loss(bench, args.repeats))
    console.print(table)


if __name__ == '__main__':
    main()
