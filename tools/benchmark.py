"""Measure a training step of any method: time by part, overhead, memory.

Medians over steps after a warm-up, in one process; on a GPU if there is one. ``--quick`` takes the
demo's config and a few generated scenes.
"""

import argparse
import os
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # read as torch is imported
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import torch
from mmengine.device import get_device
from mmengine.runner import Runner
from rich.console import Console

from mmseg_u2pl.analysis.benchmark import measure_step, prepare
from mmseg_u2pl.cli import add_config_arguments, command_line, load_scoped_config, positive, tool
from mmseg_u2pl.prepare.synthetic import write_dataset

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
DEMO = str(CONFIGS / 'u2pl/u2pl_effnet-lite0_small.py')


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example: {tool("benchmark")} configs/u2pl/u2pl_r101-d8_voc12-513x513.py',
    )
    parser.add_argument('config', nargs='?', help="training config file; default: the demo's")
    parser.add_argument('--quick', action='store_true', help='few steps on generated scenes')
    parser.add_argument(
        '--warmup', type=positive, help='steps that do not count; default: 5, --quick: 2'
    )
    parser.add_argument(
        '--repeats', type=positive, help='steps that count; default: 15, --quick: 4'
    )
    add_config_arguments(parser)
    args = parser.parse_args()
    if args.quick and args.config:
        raise SystemExit(
            f"--quick takes the demo's config, not {args.config}: leave one of them out"
        )
    args.config = args.config or DEMO
    args.warmup = args.warmup or (2 if args.quick else 5)
    args.repeats = args.repeats or (4 if args.quick else 15)
    return args


@command_line
def main() -> None:
    """Measure and print."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    console = Console(highlight=False)
    device = torch.device(get_device())
    threads = f'{torch.get_num_threads()} threads of torch'
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {threads}'
    console.print(f'[bold]{name}[/], torch {torch.__version__}')
    with tempfile.TemporaryDirectory() as folder:
        if args.quick:
            scenes = Path(folder, 'scenes')
            write_dataset(scenes, num_labeled=16, num_unlabeled=32, num_val=1, num_test=1)
            os.environ.update(SMALL_DATA='synthetic', SYNTHETIC_ROOT=str(scenes))
        cfg = load_scoped_config(args)
        prepare(cfg, str(Path(folder, 'run')), args.warmup + args.repeats + 1)
        console.print(Path(args.config).stem)
        console.print(measure_step(Runner.from_cfg(cfg), args.warmup))


if __name__ == '__main__':
    main()
