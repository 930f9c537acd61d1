"""Is my network displaced at my test size? Predict with padding to the grid and without it."""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.runner.utils import set_random_seed
from mmseg.apis import init_model
from mmseg.models import BaseSegmentor
from mmseg.registry import DATASETS
from torch import Tensor

from mmseg_u2pl.cli import (
    add_config_arguments,
    add_trust_argument,
    command_line,
    load_scoped_config,
    positive,
    tool,
)
from mmseg_u2pl.functional import IGNORE


def agreement(prediction: Tensor, target: Tensor, reach: int = 4) -> Tensor:
    """How many pixels agree when a prediction is moved back by each of (2·reach + 1)² shifts.

    Args:
        prediction: Labels (H, W), integer, at most 254.
        target: Labels (H, W), integer; 255 counts nowhere.
        reach: Largest shift, pixels. A border of this width is left out.

    Returns:
        Counts (2·reach + 1, 2·reach + 1), int64. Entry [reach + dy, reach + dx] compares
        prediction[y + dy, x + dx] with target[y, x].
    """
    height, width = (side - 2 * reach for side in target.shape)
    shifts = range(2 * reach + 1)
    prediction = prediction.byte()  # 30 times as fast
    inner = target[reach : reach + height, reach : reach + width].byte()
    windows = ((prediction[y : y + height, x : x + width] for x in shifts) for y in shifts)
    return torch.stack(
        [torch.stack([(w == inner).count_nonzero() for w in row]) for row in windows]
    )


def displacement(counts: Tensor) -> tuple[int, int]:
    """(dy, dx): how far predictions lie below and right of the target, pixels.

    Args:
        counts: Of :func:`agreement`, one image's or the sum over images.
    """
    shifts = [(int(y), int(x)) for y, x in (counts == counts.max()).nonzero() - len(counts) // 2]
    return min(shifts, key=lambda shift: shift[0] ** 2 + shift[1] ** 2)


@torch.no_grad()
def compare(model: BaseSegmentor, samples: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Predict samples of a data set with the grid of the model's preprocessor and without it.

    Returns:
        For ``padded`` and ``unpadded`` predictions mIoU and displacement from the ground truth;
        the displacement of unpadded from padded ones; the share of labels that change and the
        mean absolute change of the logits, relative to their spread, in percent.
    """
    preprocessor: Any = model.data_preprocessor
    grid, images = preprocessor.grid, 0
    sums: dict[Any, Any] = defaultdict(int)
    for sample in samples:
        target = sample['data_samples'].gt_sem_seg.data[0].long()
        logits = {}
        for name, preprocessor.grid in (('padded', grid), ('unpadded', None)):
            batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples'].clone()])
            logits[name] = model.test_step(batch)[0].seg_logits.data.cpu()
            label, classes = logits[name].argmax(0), len(logits[name])
            pairs = (classes * target + label)[target != IGNORE]
            sums['pairs', name] += pairs.bincount(minlength=classes**2).view(classes, classes)
            sums[name] += agreement(label, target)
        preprocessor.grid = grid
        images += 1
        padded, change = logits['padded'], logits['unpadded'] - logits['padded']
        spread = (padded - padded.mean((1, 2), keepdim=True)).abs().mean()
        sums['unpadded from padded'] += agreement(label, padded.argmax(0))
        sums['labels_changed'] += (label != padded.argmax(0)).float().mean()
        sums['logits_changed'] += change.abs().mean() / spread
    names = ('padded', 'unpadded', 'unpadded from padded')
    return dict(
        images=images,
        labels_changed=round(100 * float(sums['labels_changed']) / images, 2),
        logits_changed=round(100 * float(sums['logits_changed']) / images, 2),
        miou={name: _miou(sums['pairs', name]) for name in names[:2]},
        displacement={name: displacement(sums[name]) for name in names},
    )


def _miou(pairs: Tensor) -> float:
    """Mean IoU in percent over the classes that occur, from counts (truth, prediction)."""
    hits = pairs.diagonal()
    union = pairs.sum(0) + pairs.sum(1) - hits
    return round(float(100 * (hits[union > 0] / union[union > 0]).mean()), 2)


def height_width(text: str) -> tuple[int, int]:
    """A type of argument: ``'192x256'``."""
    if not re.fullmatch('[1-9][0-9]*x[1-9][0-9]*', text):
        raise argparse.ArgumentTypeError(f'{text!r}: give HEIGHTxWIDTH, such as 192x256')
    height, width = map(int, text.split('x'))
    return height, width


@command_line
def main() -> None:
    """Print one JSON line a size; displacements are pixels of the ground truth."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("displacement")} CONFIG work_dirs/RUN/iter_1200.pth --sizes 192x256 180x240',
    )
    parser.add_argument('config', help='config file; its validation images are predicted')
    parser.add_argument('checkpoint', nargs='?', help='none: random weights')
    parser.add_argument(
        '--sizes', nargs='+', required=True, type=height_width, help='of the input, HEIGHTxWIDTH'
    )
    parser.add_argument('--limit', type=positive, help='only the first images')
    add_config_arguments(parser)
    add_trust_argument(parser)
    args = parser.parse_args()
    cfg = load_scoped_config(args)
    set_random_seed(0)
    model = init_model(cfg, args.checkpoint, device=get_device())
    data = cfg.val_dataloader.dataset
    first, *steps = [step for step in data.pipeline if step.type != 'Resize']
    for size in args.sizes:
        resize = dict(type='Resize', scale=tuple(size[::-1]), keep_ratio=False)
        dataset = DATASETS.build(dict(data, pipeline=[first, resize, *steps]))
        images = range(min(args.limit or len(dataset), len(dataset)))
        result = compare(model, (dataset[i] for i in images))
        padded_to = [model.data_preprocessor.grid.fit(side) for side in size]
        print(json.dumps(dict(size=size, padded_to=padded_to, **result)), flush=True)


if __name__ == '__main__':
    main()
