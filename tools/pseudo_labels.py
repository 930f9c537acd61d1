"""Compare a U²PL model's pseudo-labels with hidden masks, per class and over training."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

from mmengine.device import get_device
from mmseg.registry import MODELS
from rich.console import Console
from rich.progress import track

from mmseg_u2pl.cli import add_hidden_mask_arguments, load_scoped_config
from mmseg_u2pl.pseudo_label_quality import (
    Measurement,
    bank_count,
    batches,
    evenly_spaced,
    hidden_mask_dataset,
    load_teacher,
    measure,
)
from mmseg_u2pl.visualization import draw_pseudo_labels, pseudo_label_table


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: tools/pseudo_labels.py CONFIG work_dirs/run/iter_*.pth '
        '--masks ann_dir/train',
    )
    add_hidden_mask_arguments(parser)
    parser.add_argument('--out', help='folder of the results (default: beside the checkpoint)')
    parser.add_argument('--num', type=int, default=100, help='images to look at; 0: all')
    return parser.parse_args()


def main() -> None:
    """Measure every checkpoint; write the numbers and the picture."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    cfg = load_scoped_config(args)
    dataset = hidden_mask_dataset(cfg, args.masks)
    indices = evenly_spaced(len(dataset), args.num)
    # the percentile of a training step is over its unlabeled images, half of the batch
    size = max(1, cfg.train_dataloader.batch_size // 2)

    console = Console()
    model = MODELS.build(cfg.model).to(get_device())
    measurements = []
    for path in map(Path, args.checkpoints):
        iteration = load_teacher(model, path, cfg.train_cfg.max_iters)
        groups = batches(dataset, track(indices, path.name, console=console), size)
        quality = measure(model, groups)
        measurements.append(Measurement(path.name, iteration, quality, bank_count(model)))
    measurements.sort(key=lambda measurement: measurement.iteration)

    out = Path(args.out or Path(args.checkpoints[0]).parent / 'pseudo_labels')
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    iterations = ', '.join(str(measurement.iteration) for measurement in measurements)
    title = f'{Path(args.config).stem}\niteration {iterations} · {len(indices)} unlabeled images'
    picture = draw_pseudo_labels(measurements, classes, palette, out / 'pseudo_labels.png', title)
    results = [
        dict(checkpoint=m.name, iteration=m.iteration, bank=m.bank, **m.quality.as_dict(classes))
        for m in measurements
    ]
    numbers = out / 'pseudo_labels.json'
    report = dict(config=args.config, masks=args.masks, images=len(indices), checkpoints=results)
    numbers.write_text(json.dumps(report, indent=1, ensure_ascii=False) + '\n')
    console.print(pseudo_label_table(measurements[-1], classes))
    console.print(f'Look at it:   {picture}')
    console.print(f'All numbers:  {numbers}')


if __name__ == '__main__':
    main()
