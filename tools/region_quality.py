"""Compare the accuracy of the regions that an RRN accepts with the rest, against hidden masks."""

from __future__ import annotations

import argparse
import json
import math
import random
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from mmengine.device import get_device
from mmseg.registry import MODELS
from rich.console import Console
from rich.progress import track

from mmseg_u2pl.cli import add_hidden_mask_arguments, load_scoped_config
from mmseg_u2pl.pseudo_label_quality import evenly_spaced, hidden_mask_dataset
from mmseg_u2pl.region_quality import (
    RegionMeasurement,
    crops_with_masks,
    load_rrn,
    measure_regions,
    region_table,
)

GROUP = 8
"""Crops that are mixed and predicted together: 4 pairs."""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: tools/region_quality.py CONFIG work_dirs/run/iter_*.pth '
        '--masks ann_dir/train',
    )
    add_hidden_mask_arguments(parser)
    parser.add_argument('--out', help='JSON file (default: region_quality.json by the checkpoint)')
    parser.add_argument('--num', type=int, default=0, help='crops to look at; 0: one an image')
    parser.add_argument('--seed', type=int, default=0, help='of crops and boxes')
    return parser.parse_args()


def main() -> None:
    """Measure every checkpoint on the same mixed crops; print a table, write a JSON file."""
    warnings.filterwarnings('ignore', category=UserWarning)
    args = parse_args()
    cfg = load_scoped_config(args)
    model = MODELS.build(cfg.model).to(get_device())
    dataset = hidden_mask_dataset(crops_with_masks(cfg), args.masks)
    indices = evenly_spaced(len(dataset), args.num)
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(args.seed))

    console = Console()
    measurements = []
    for path in map(Path, args.checkpoints):
        iteration = load_rrn(model, path)
        random.seed(args.seed)
        np.random.seed(args.seed)  # noqa: NPY002 - mmseg's transforms use it
        shuffled = track(order.tolist(), path.name, console=console)
        crops = (dataset[indices[place]] for place in shuffled)
        groups = iter(lambda: list(islice(crops, GROUP)), [])  # noqa: B023 - used at once
        boxes = torch.Generator().manual_seed(args.seed)
        quality = measure_regions(model, groups, boxes)
        measurements.append(RegionMeasurement(path.name, iteration, quality))
    measurements.sort(key=lambda measurement: measurement.iteration)

    results = [
        dict(checkpoint=m.name, iteration=m.iteration)
        | {key: None if math.isnan(v) else v for key, v in m.quality.overall().items()}
        for m in measurements
    ]
    report = dict(
        config=args.config, masks=args.masks, crops=len(indices), seed=args.seed,
        threshold=model.threshold, accepted_share=model.accepted_share, target=model.target,
        checkpoints=results,
    )  # fmt: skip
    out = Path(args.out or Path(args.checkpoints[0]).parent / 'region_quality.json')
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + '\n')
    console.print(region_table(measurements))
    console.print(f'All numbers:  {out}')


if __name__ == '__main__':
    main()
