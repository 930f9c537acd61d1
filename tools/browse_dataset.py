"""See what a method gets in training: contact sheets of batches, augmented, padded and mixed.

With a checkpoint the pseudo-labels are drawn as well.
"""

import argparse
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, Runner, set_random_seed
from rich.console import Console
from rich.markup import escape
from torch.utils.data import DataLoader

from mmseg_u2pl.analysis.pseudo_labels import place_in_training
from mmseg_u2pl.cli import (
    add_config_arguments,
    add_trust_argument,
    command_line,
    load_scoped_config,
    positive,
    tool,
)
from mmseg_u2pl.contact_sheet import describe, draw_contact_sheet, training_rows
from mmseg_u2pl.datasets.checks import check_dataset_config, check_files
from mmseg_u2pl.inference.checkpoint import build_segmentor, fill_segmentor


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("browse_dataset")} configs/u2pl/u2pl_effnet-lite0_small.py --data synthetic',
    )
    parser.add_argument('config', help='training config file')
    parser.add_argument('--out', help='folder of the PNGs (default: work_dirs/CONFIG/browse)')
    parser.add_argument(
        '--batches', type=positive, default=2, help='number of batches to draw; default: 2'
    )
    parser.add_argument('--checkpoint', help='iter_*.pth, whose pseudo-labels are drawn')
    add_config_arguments(parser)
    add_trust_argument(parser)
    return parser.parse_args()


def build_loader(cfg: Config, seed: int) -> DataLoader:
    """The training batches, loaded in this process.

    Raises:
        FileNotFoundError: Data are missing.
        ValueError: The config has no training data, or these have no class names.
    """
    if not cfg.get('train_dataloader'):
        raise ValueError('the config has no train_dataloader')
    settings = dict(cfg.train_dataloader, num_workers=0)
    for key in ('persistent_workers', 'prefetch_factor', 'multiprocessing_context'):
        settings.pop(key, None)  # they need workers
    where = 'train_dataloader.dataset'
    if 'data_prefix' in settings['dataset']:
        check_dataset_config(settings['dataset'], where)
    set_random_seed(seed)  # without a SemiSampler augmentations have no seeds of their own
    loader = Runner.build_dataloader(settings, seed=seed)
    dataset: Any = loader.dataset
    check_files(dataset, where)
    if not dataset.metainfo.get('classes'):
        raise ValueError(f'{where} has no class names: give it metainfo=dict(classes=(...))')
    return loader


def build_model(cfg: Config, checkpoint: str | None) -> Any:
    """The model in evaluation mode; without a checkpoint with random weights.

    Raises:
        ValueError: As in :func:`fill_segmentor` and :func:`place_in_training`.
    """
    model = build_segmentor(cfg)
    if checkpoint:
        content = CheckpointLoader.load_checkpoint(checkpoint, 'cpu')
        fill_segmentor(model, content, checkpoint)
        place_in_training(model, content, checkpoint, cfg)
    return model


@command_line
def main() -> None:
    """Write one sheet a batch."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    browse(args, Console(highlight=False, soft_wrap=True))


def browse(args: argparse.Namespace, console: Console) -> None:
    """Load batches and draw them."""
    cfg = load_scoped_config(args)
    seed = cfg.get('randomness', {}).get('seed') or 0
    loader, model = build_loader(cfg, seed), build_model(cfg, args.checkpoint)
    stem = Path(args.config).stem
    out = Path(args.out or Path('work_dirs') / stem / 'browse')
    dataset: Any = loader.dataset
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    for number, batch in enumerate(islice(loader, args.batches), 1):
        torch.manual_seed(seed + number)  # of the mix; building the network drew numbers as well
        rows = training_rows(model, batch, labels=bool(args.checkpoint))
        size = '×'.join(map(str, rows[0].images[0].shape[:2]))
        title = f'{stem}\nbatch {number} · crop {size} px · seed {seed}'
        path = draw_contact_sheet(rows, classes, palette, out / f'batch_{number}.png', title)
        console.print(f'[bold]Batch {number}[/]  {escape(str(path))}')
        for row in rows[1:]:
            console.print(describe(row), markup=False)


if __name__ == '__main__':
    main()
