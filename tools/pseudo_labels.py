"""Compare a method's pseudo-labels with the ground truth of the unlabeled images.

Per class, by network and over training; for RRN, kept pixels are those of accepted regions.
"""

import argparse
import json
import warnings
from pathlib import Path

from mmengine.device import get_device
from rich.console import Console
from rich.progress import track

from mmseg_u2pl.analysis.pseudo_label_figure import (
    checkpoint_table,
    class_table,
    draw_pseudo_labels,
)
from mmseg_u2pl.analysis.pseudo_labels import Measurement, measure, place_in_training
from mmseg_u2pl.analysis.tables import print_table
from mmseg_u2pl.cli import add_checkpoint_arguments, command_line, not_negative, tool
from mmseg_u2pl.datasets.prediction import batches, spread, unlabeled_images, unlabeled_per_batch
from mmseg_u2pl.inference.checkpoint import load_model


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("pseudo_labels")} work_dirs/run/iter_*.pth --masks ann_dir/train '
        '-o quality',
    )
    add_checkpoint_arguments(parser, 'iter_*.pth of one run of a semi-supervised method', nargs='+')
    parser.add_argument(
        '--masks',
        required=True,
        help="folder of the unlabeled images' ground truth, below their data_root",
    )
    parser.add_argument(
        '--num', type=not_negative, default=100, help='images to look at; 0: all; default: 100'
    )
    return parser.parse_args()


@command_line
def main() -> None:
    """Measure every checkpoint; write numbers and pictures."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    compare(args, Console(soft_wrap=True, markup=False))


def compare(args: argparse.Namespace, console: Console) -> None:
    """Measure, print and draw."""
    measurements: list[Measurement] = []
    args.out.mkdir(parents=True, exist_ok=True)
    for path in map(Path, args.checkpoint):
        model, cfg, _, checkpoint = load_model(
            path, args.config, trust_checkpoint=args.trust_checkpoint
        )
        iteration = place_in_training(model, checkpoint, path, cfg)
        model.to(get_device())
        if not measurements:  # all are of one run
            dataset = unlabeled_images(cfg, args.masks)
            indices = spread(args.num, len(dataset))
        watched = track(indices, path.name, console=console)
        found = measure(model, batches(dataset, watched, unlabeled_per_batch(cfg)))
        measurements += [
            Measurement(path.name, iteration, name, quality) for name, quality in found.items()
        ]
    measurements.sort(key=lambda measurement: measurement.iteration)

    run, out = path.resolve().parent, args.out
    classes = dataset.metainfo['classes']
    networks = dict.fromkeys(measurement.network for measurement in measurements)
    for network in networks:
        shown = [measurement for measurement in measurements if measurement.network == network]
        iterations = ', '.join(str(measurement.iteration) for measurement in shown)
        title = f'{run.name}, {network}\niteration {iterations} · {len(indices)} images'
        picture = draw_pseudo_labels(shown, classes, out / f'{network}.png', title)
        print_table(class_table(shown[-1], classes), console)
        console.print(f'Look at it:   {picture}')
    print_table(checkpoint_table(measurements), console)
    report = dict(
        run=str(run),
        masks=args.masks,
        images=len(indices),
        measurements=[
            {**measurement._asdict(), 'quality': measurement.quality.as_dict(classes)}
            for measurement in measurements
        ],
    )
    numbers = out / 'pseudo_labels.json'
    numbers.write_text(json.dumps(report, indent=1, ensure_ascii=False) + '\n')
    console.print(f'All numbers:  {numbers}')


if __name__ == '__main__':
    main()
