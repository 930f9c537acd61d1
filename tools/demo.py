"""The demo: 12 labeled and 300 unlabeled synthetic street scenes, with and without U²PL.

Trains the same network for the same number of steps on the labels alone (the supervised baseline)
and with U²PL, then prints the IoU of each class and draws both beside the ground truth.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported inside, after the first line of output: they take seconds
    from mmengine.hooks import Hook
    from mmengine.runner import Runner
    from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    'supervised': 'supervised/supervised_effnet-lite0_small.py',
    'U²PL': 'u2pl/u2pl_effnet-lite0_small.py',
}

ITERATIONS = 700
"""Fewer than the configs', so that the demo takes at most 6 minutes on 2 cores."""
WARMUP = ITERATIONS // 4


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog='example: %(prog)s --seed 1')
    parser.add_argument(
        '--seed', type=int, default=0, help='random seed of both trainings; default: 0'
    )
    parser.add_argument(
        '--data', default='data/synthetic', help='folder of the scenes; default: data/synthetic'
    )
    parser.add_argument(
        '--work-dir',
        default='work_dirs/demo',
        help='folder of the results; default: work_dirs/demo',
    )
    return parser.parse_args()


def main() -> None:
    """Make the data, train both, show the difference."""
    args = parse_args()
    start = time.monotonic()
    warnings.filterwarnings('ignore')
    os.environ.update(SMALL_DATA='synthetic', SYNTHETIC_ROOT=args.data)

    from rich.console import Console

    console = Console(file=sys.stdout)  # this one, also while output goes to the log
    console.print('[bold]U²PL demo[/]: 12 labeled + 300 unlabeled street scenes, 100 to test on')
    work_dir = Path(args.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    log = work_dir / 'log.txt'
    with log.open('w') as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            metrics, picture = run(args, work_dir, console)
        except BaseException:
            console.print(f'[red]Stopped[/]; the log is {log}')
            raise

    from mmseg_u2pl.analysis.report import gain_table

    console.print(gain_table(metrics['supervised'], metrics['U²PL'], ('supervised', 'U²PL')))
    gain = metrics['U²PL']['mIoU'] - metrics['supervised']['mIoU']
    minutes = (time.monotonic() - start) / 60
    console.print(f'The unlabeled images are worth [bold]{gain:+.1f}[/] mIoU ({minutes:.1f} min).')
    console.print(f'Look at it:   {picture}')
    console.print(f'Full log:     {log}')
    console.print('Your data:    docs/own_data.md')


def run(args: argparse.Namespace, work_dir: Path, console: Console) -> tuple[dict, Path]:
    """Train and test both methods; returns their metrics and the picture."""
    from mmengine.config import Config
    from mmengine.runner import Runner

    from mmseg_u2pl.prepare.synthetic import write_dataset

    with contextlib.redirect_stdout(console.file):
        try:
            write_dataset(Path(args.data))
        except ValueError as error:
            console.print(f'error: {error}', markup=False)
            raise SystemExit(2) from None
    models, metrics = {}, {}
    for name, path in CONFIGS.items():
        cfg = Config.fromfile(ROOT / 'configs' / path)
        cfg.work_dir = str(work_dir / Path(path).stem)
        cfg.randomness = dict(seed=args.seed)
        cfg.merge_from_dict(dict(val_cfg=None, val_dataloader=None, val_evaluator=None))
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=ITERATIONS)
        del cfg.optim_wrapper['paramwise_cfg']  # so short a training needs a fast backbone
        cfg.default_hooks.checkpoint.update(interval=ITERATIONS, save_best=None)
        if 'warmup_iters' in cfg.model:
            cfg.model.warmup_iters = WARMUP
        runner = Runner.from_cfg(cfg)
        runner.register_hook(progress_hook(f'{name:12}', console), 'LOWEST')
        runner.train()
        scores = runner.test()
        metrics[name] = {key.removeprefix('teacher/'): scores[key] for key in scores}
        models[name] = runner.model
    return metrics, draw(models, runner, work_dir / 'demo.png')


def progress_hook(title: str, console: Console) -> Hook:
    """A hook that draws a progress bar, or prints a line at every tenth into what is no terminal."""
    from mmengine.hooks import Hook
    from rich.progress import MofNCompleteColumn, Progress

    class ProgressHook(Hook):
        def before_train(self, runner: Runner) -> None:
            columns = *Progress.get_default_columns(), MofNCompleteColumn()
            self.bar = Progress(*columns, console=console)
            self.bar.start()
            self.task = self.bar.add_task(title, total=runner.max_iters)

        def after_train_iter(self, runner: Runner, *_: object, **__: object) -> None:
            done, total = runner.iter + 1, runner.max_iters
            self.bar.update(self.task, completed=done)
            if not console.is_terminal and done % max(1, total // 10) == 0:
                console.print(f'{title}: {done}/{total}')

        def after_train(self, runner: Runner) -> None:
            self.bar.stop()

    return ProgressHook()


def draw(models: dict, runner: Runner, path: Path) -> Path:
    """The picture of four test scenes; beside it a small one of two."""
    import mmcv
    import numpy as np
    import torch

    from mmseg_u2pl.contact_sheet import SheetRow, draw_contact_sheet
    from mmseg_u2pl.functional import IGNORE, entropy_map

    dataset = runner.test_dataloader.dataset
    scenes = [dataset[index] for index in range(0, len(dataset), len(dataset) // 4)][:4]
    batch = {key: [scene[key] for scene in scenes] for key in ('inputs', 'data_samples')}
    samples = batch['data_samples']
    images = np.stack([mmcv.imread(each.img_path, channel_order='rgb') for each in samples])
    truth = torch.cat([each.gt_sem_seg.data for each in samples]).numpy()
    rows = [
        SheetRow('image', images, [Path(each.img_path).stem for each in samples]),
        SheetRow('ground truth', images, [''] * 4, truth),
    ]
    for name in CONFIGS:
        with torch.no_grad():
            found = models[name].test_step(batch)
        labels = torch.cat([each.pred_sem_seg.data for each in found]).cpu().numpy()
        right = [(labels[i] == truth[i])[truth[i] != IGNORE].mean() for i in range(4)]
        rows.append(SheetRow(name, images, [f'{share:.0%} right' for share in right], labels))
    prob = torch.stack([each.seg_logits.data for each in found]).softmax(1)  # of U²PL
    entropy = entropy_map(prob).cpu().numpy()
    gray = (255 * entropy / np.log(prob.shape[1])).astype(np.uint8)
    maps = np.stack([gray] * 3, axis=-1)
    maps[entropy >= np.percentile(entropy, 80, axis=(1, 2), keepdims=True)] = 255, 60, 60
    rows.append(SheetRow("U²PL's entropy", maps, ['red: the least reliable 20 %'] * 4))
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    two = [SheetRow(row.title, row.images[:2], row.names[:2], row.labels) for row in rows]
    draw_contact_sheet(two, classes, palette, path.with_name(f'{path.stem}_small.png'))
    return draw_contact_sheet(rows, classes, palette, path)


if __name__ == '__main__':
    main()
