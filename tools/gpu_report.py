"""Measure the paper's network on one GPU in ten minutes; a JSON and a Markdown file.

Steps, overhead and memory of U²PL, FixMatch and the baseline at 513², 4 + 4 images; where the host waits
for the GPU; the losses at 21 and 150 classes; torch.compile; what fits 12 GB: the most important first, as
long as the time lasts. With --train, what is left goes into a training.
"""

import argparse
import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from rich.console import Console

from mmseg_u2pl.analysis.gpu_report import TITLE, markdown, measure
from mmseg_u2pl.analysis.gpu_tasks import GROUPS, Settings, tasks
from mmseg_u2pl.analysis.run_folder import RunFolder, scores_by_predictor
from mmseg_u2pl.cli import command_line, tool
from mmseg_u2pl.compat import config_path
from mmseg_u2pl.engine.checkpoints import AtomicBackend
from mmseg_u2pl.prepare.synthetic import write_dataset

ROOT = Path(__file__).resolve().parents[1]
LEAST_TRAINING = 30.0
"""Seconds; in less no training starts."""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example: {tool("gpu_report")} --minutes 10 --train CONFIG --train-flags="--amp"',
    )
    parser.add_argument(
        '--minutes', type=float, default=10.0, help='time limit of the whole report; default: 10'
    )
    parser.add_argument(
        '--out',
        help='folder of the report; default: work_dirs/gpu_report, on a CPU work_dirs/cpu_report',
    )
    parser.add_argument(
        '--only', nargs='+', choices=GROUPS, default=GROUPS, help='groups to measure'
    )
    parser.add_argument('--device', choices=['cuda', 'cpu'], help='default: a GPU if there is one')
    parser.add_argument('--tiny', action='store_true', help='a rehearsal with a tiny network')
    parser.add_argument('--train', metavar='CONFIG', help='train this config in the time left')
    parser.add_argument(
        '--train-flags', default='', help='of tools/train.py: "--amp --cfg-options key=value"'
    )
    args = parser.parse_args()
    if args.train and not config_path(args.train).is_file():
        parser.error(f'--train {args.train}: no such config')
    return args


def train(config: str, flags: str, out: Path, seconds: float) -> dict:
    """Train until the time is over; the mIoU of each validation."""
    if seconds < LEAST_TRAINING:
        return {'error': 'the time was over'}
    folder = out / time.strftime('train_%Y%m%d_%H%M%S')
    command = [
        sys.executable, str(ROOT / 'tools/train.py'), config, '--work-dir', str(folder),
        *shlex.split(flags),
    ]  # fmt: skip
    with (out / 'train.txt').open('w') as log, contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, stdout=log, stderr=log, timeout=seconds, check=False)
        if done.returncode:
            return {'error': f'tools/train.py ended with {done.returncode}: see train.txt'}
    run = RunFolder(folder)
    figures: dict = {'iterations': run.iteration, 'minutes': run.minutes()}
    for iteration, metrics in run.validations.items():
        for name, scores in scores_by_predictor(metrics).items():
            figures[f'{name} mIoU at {iteration}'] = scores['mIoU']
    return figures


@command_line
def main() -> None:
    """Measure task by task; the files are complete after each, and keep what was measured before."""
    args = parse_args()
    end = time.monotonic() + 60 * args.minutes
    warnings.filterwarnings('ignore')
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    kind = 'gpu' if device == 'cuda' and not args.tiny else 'cpu'  # or a rehearsal
    out = Path(args.out or f'work_dirs/{kind}_report').resolve()
    console = Console(highlight=False, markup=False)
    page = out / 'report.md'
    if page.exists() and not page.read_text(errors='replace').startswith(TITLE):
        raise SystemExit(f'{page} is of another origin: choose another --out')
    out.mkdir(parents=True, exist_ok=True)
    path = out / 'report.json'  # what an earlier call measured stays
    report: dict[str, dict] = json.loads(path.read_text()) if path.exists() else {}

    def add(group: str, title: str, figures: dict) -> None:
        before = report.setdefault(group, {}).get(title, {'error': ''})
        if 'error' not in figures or 'error' in before:
            report[group][title] = figures
        AtomicBackend().put(json.dumps(report, indent=1).encode(), path)
        page.write_text(markdown(report))
        console.print(markdown({group: {title: figures}}).strip())

    with tempfile.TemporaryDirectory() as folder:
        size = (96, 128) if args.tiny else (375, 500)
        scenes = write_dataset(
            Path(folder, 'scenes'), num_labeled=8, num_unlabeled=16, num_val=1, num_test=1,
            height=size[0], width=size[1],
        )  # fmt: skip
        settings = Settings(ROOT / 'configs', scenes, device, args.tiny)
        keys = [key for key in tasks(settings) if key[0] in args.only]
        for key, figures in measure(end, keys, settings):
            add(*key, figures)
    if args.train:
        left = end - time.monotonic()
        add('training', args.train, train(args.train, args.train_flags, out, left))
    console.print(f'{out}/report.md, {out}/report.json')


if __name__ == '__main__':
    main()
