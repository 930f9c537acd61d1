"""Propose unlabeled images to label next: typical ones, unlike those that have a mask.

The network's features of all images are clustered. First comes the most typical image of each
cluster without a mask, large clusters first.
"""

import argparse
import csv
import os
import warnings

import mmcv
import numpy as np
from mmseg.registry import DATASETS
from rich.console import Console
from rich.progress import track

from mmseg_u2pl.analysis.ranking import Ranked, rank
from mmseg_u2pl.cli import add_checkpoint_arguments, command_line, positive, tool
from mmseg_u2pl.contact_sheet import SheetRow, draw_contact_sheet, ending
from mmseg_u2pl.datasets.checks import image_paths, infos
from mmseg_u2pl.datasets.files import list_text, stem_of
from mmseg_u2pl.datasets.prediction import unlabeled_images
from mmseg_u2pl.inference.checkpoint import load_model
from mmseg_u2pl.inference.predict import Inference
from mmseg_u2pl.inference.sources import Item, find_sources, items

COLUMNS, DRAWN = 6, 18


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("rank_unlabeled")} work_dirs/crack/iter_1200.pth -o next --num 20',
    )
    add_checkpoint_arguments(parser, 'of a training with this package')
    parser.add_argument(
        'images', nargs='*', help="as in predict.py; default: the config's unlabeled images"
    )
    parser.add_argument('--num', type=positive, default=30, help='images to propose; default: 30')
    parser.add_argument(
        '--batch-size', type=positive, default=1, help='images of one size together'
    )
    return parser.parse_intermixed_args()


@command_line
def main() -> None:
    """Look at all images, choose among them; write the list, the numbers and a contact sheet."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    model, cfg, meta, _ = load_model(
        args.checkpoint, args.config, trust_checkpoint=args.trust_checkpoint
    )
    if args.images:
        sources = find_sources(args.images)
        if videos := [source.path for source in sources if source.is_video]:
            raise ValueError(f'{videos[0]!r} is a video: give the images that can get masks')
        pool = list(items(sources))
    else:
        unlabeled = unlabeled_images(cfg)
        paths = dict.fromkeys(info['img_path'] for info in infos(unlabeled.dataset))  # each once
        pool = [Item(stem_of(unlabeled.name(path)), path) for path in paths]
    parts = cfg.get('train_dataloader', {}).get('dataset', {})
    known = DATASETS.build(parts.labeled) if 'labeled' in parts else []
    labeled = [Item('', path) for path in dict.fromkeys(info['img_path'] for info in infos(known))]
    with_mask = image_paths(known)
    for loader in ('val_dataloader', 'test_dataloader'):
        if dataset := (cfg.get(loader) or {}).get('dataset'):
            with_mask |= image_paths(DATASETS.build(dataset))
    pool = [
        item
        for item in pool
        if not isinstance(item.image, str) or os.path.realpath(item.image) not in with_mask
    ]
    if not pool:
        raise ValueError('all of these images have a mask already')
    out = args.out
    out.mkdir(parents=True, exist_ok=True)
    inference = Inference(model, cfg, batch_size=args.batch_size, features=True)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    num_labeled, names, features = 0, [], []
    watched = track(inference([*labeled, *pool]), 'looking', len(labeled + pool), console=console)
    for index, found in enumerate(watched):
        if found.error:
            console.print(f'left out: {found.item.title} {found.error}')
            continue
        features.append(np.asarray(found.feature))
        if index < len(labeled):
            num_labeled += 1
        else:
            names.append(found.item)
    if not names:
        raise ValueError('none of the images can be read')
    ranked = rank(np.stack(features), num_labeled, args.num)
    (out / 'next.txt').write_bytes(list_text(names[one.position].name for one in ranked))
    with (out / 'next.csv').open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(('name', *Ranked._fields[1:]))
        table.writerows((names[one.position].name, *one[1:]) for one in ranked)
    drawn = list(inference(names[one.position] for one in ranked[:DRAWN]))
    rows = []
    for start in range(0, len(drawn), COLUMNS):
        part = drawn[start : start + COLUMNS]
        images = [mmcv.imread(found.item.image)[..., ::-1] for found in part]
        titles = [f'{start + i}. {ending(found.name, 30)}' for i, found in enumerate(part, 1)]
        rows += [
            SheetRow('image', images, titles),
            SheetRow('prediction', images, titles, [found.mask for found in part]),
        ]
    title = f'to label next, the first {len(drawn)} of {len(ranked)}'
    draw_contact_sheet(rows, meta['classes'], meta['palette'], out / 'next.png', title)
    console.print(
        f'{len(ranked)} of {len(names)} images: {out / "next.txt"}; why: {out / "next.csv"}; '
        f'look at them: {out / "next.png"}'
    )


if __name__ == '__main__':
    main()
