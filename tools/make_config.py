"""Write a config that trains on your own folder of images and masks, every choice with its reason.

Also writes the lists of labeled, unlabeled and held-out images, and a supervised twin that tells
whether the unlabeled images help.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import warnings
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmseg_u2pl.own_data import (
    METHODS,
    NETWORKS,
    choose,
    config_name,
    config_texts,
    draw_lists,
    parse_colors,
    read_images,
    read_own_masks,
    write_configs,
)


def parse_args() -> argparse.Namespace:
    """Flags of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example: tools/make_config.py mine/images mine/masks --classes background crack '
        '--out configs/crack',
    )
    parser.add_argument('images', help='folder of the images, searched recursively')
    parser.add_argument('masks', help='folder of masks of some of them: same names, any suffix')
    parser.add_argument(
        '--classes', nargs='+', required=True, metavar='NAME', help='names of the labels 0, 1, ...'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of configs and lists')
    parser.add_argument(
        '--unlabeled',
        metavar='DIR|LIST',
        help='folder of further images, or list of some of IMAGES; default: all without a mask',
    )
    parser.add_argument(
        '--val',
        metavar='N|RATIO|LIST',
        help='images with masks to validate on; default: a fifth, at least 2',
    )
    parser.add_argument(
        '--groups',
        metavar='FILE|REGEX',
        help='images of a group stay on one side, as in tools/make_splits.py',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the draw')
    parser.add_argument(
        '--values', nargs='+', type=int, metavar='V', help='grey value of each class in the masks'
    )
    parser.add_argument(
        '--colors',
        nargs='+',
        metavar='NAME=#RRGGBB|FILE',
        help='color of each class in RGB masks, or files of such lines; ignore=#RRGGBB',
    )
    parser.add_argument('--method', choices=list(METHODS), default='u2pl_balanced')
    parser.add_argument('--backbone', choices=list(NETWORKS), help='a file of _base_/models')
    parser.add_argument('--iters', type=int, metavar='N', help='length of the training')
    parser.add_argument('--force', action='store_true', help='overwrite other content in DIR')
    return parser.parse_args()


def make_config(args: argparse.Namespace, console: Console) -> None:
    """Read, choose, write, and say what came of it.

    Raises:
        ValueError: A mistake in the request or the files.
        OSError: A file or folder is missing, or would be overwritten.
    """
    folder, mask_folder, out = Path(args.images), Path(args.masks), Path(args.out)
    if len(args.classes) < 2 or len(set(args.classes)) < len(args.classes):
        given = ' '.join(args.classes)
        raise ValueError(f'--classes {given}: give two or more different names, background too')
    one, other = folder.resolve(), mask_folder.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise ValueError(
            f'{args.images!r} and {args.masks!r}: masks would be taken for images; put the two '
            'folders side by side'
        )
    colors = parse_colors(args.colors, args.classes) if args.colors else None
    images = read_images(folder)
    own = read_own_masks(images.paths, mask_folder, args.classes, args.values, colors)
    how = {key: getattr(args, key) for key in ('val', 'unlabeled', 'groups', 'seed')}
    lists = draw_lists(folder, images, own.masks, args.classes, **how)
    sizes = {name: len(part) for name, part in lists.stems.items()}
    choices = choose(
        images,
        own,
        sizes['labeled'],
        sizes['unlabeled'],
        method=args.method,
        network=args.backbone,
        iterations=args.iters,
        gpu=torch.cuda.is_available(),
    )
    name = config_name(out)
    command = shlex.join(['tools/make_config.py', *(a for a in sys.argv[1:] if a != '--force')])
    folders = (folder, mask_folder, lists.unlabeled_folder, out / 'splits')
    texts = config_texts(name, choices, args.classes, own, folders, command)
    changed = write_configs(out, texts, lists, args.force)

    table = Table(title='Chosen from your data', title_style='bold')
    for title in ('setting', 'value', 'why'):
        table.add_column(title, overflow='fold')
    for part in ('labeled', 'unlabeled', 'val'):
        table.add_row(part, str(sizes[part]), escape(lists.reasons[part]))
    for choice in choices.values():
        table.add_row(choice.setting, escape(choice.text), escape(choice.why))
    console.print(table)
    for note in lists.notes:
        console.print(f'[yellow]warning:[/] {escape(note)}', soft_wrap=True)
    verb = 'written' if changed else 'unchanged'
    files = ', '.join((*texts, 'splits/'))
    console.print(escape(f'{out}: {files} {verb}'), soft_wrap=True)
    console.print('\n[bold]Next[/]')
    for line in next_commands(out, name, list(texts), choices['iterations'].value):
        console.print(escape(line), soft_wrap=True)


def next_commands(out: Path, name: str, files: list[str], iterations: int) -> list[str]:
    """What to run now: look, train, train the twin, test."""
    config = shlex.quote(os.path.join(out, f'{name}.py'))
    twin = shlex.quote(os.path.join(out, f'{name}_supervised.py'))
    lines = [
        f'python tools/browse_dataset.py {config}  # see what the network gets',
        f'python tools/train.py {config}',
    ]
    if f'{name}_supervised.py' in files:
        lines.append(f'python tools/train.py {twin}  # without unlabeled images, to compare')
    return [*lines, f'python tools/test.py {config} work_dirs/{name}/iter_{iterations}.pth']


def main() -> None:
    """A user's mistake ends in a message."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    logging.getLogger('PIL').setLevel(logging.ERROR)
    try:
        make_config(args, Console(highlight=False))
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from None


if __name__ == '__main__':
    main()
