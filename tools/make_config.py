"""Write configs that train semi-supervised: on a folder of yours, or from a config of yours.

From a folder of images and masks: a config in which every choice has its reason, the lists of
labeled, unlabeled and held-out images, and a supervised baseline that tells whether the unlabeled
images help. From any mmseg config (--base): a child of a few lines, and its supervised baseline.
"""

import argparse
import logging
import os
import shlex
import sys
import warnings
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmseg_u2pl.cli import command_line, tool
from mmseg_u2pl.compat import config_path
from mmseg_u2pl.datasets.files import require_outside
from mmseg_u2pl.functional import IGNORE
from mmseg_u2pl.prepare.make_config.child import child_texts
from mmseg_u2pl.prepare.make_config.choices import NETWORKS, PER_STEP, choose, choose_network
from mmseg_u2pl.prepare.make_config.lists import draw_lists
from mmseg_u2pl.prepare.make_config.methods import DEFAULT, METHODS, read_method
from mmseg_u2pl.prepare.make_config.pace import measure_pace
from mmseg_u2pl.prepare.make_config.reading import parse_colors, read_images, read_own_masks
from mmseg_u2pl.prepare.make_config.text import folder_texts
from mmseg_u2pl.prepare.split_files import list_files, write_files

OF_FOLDERS = (
    'classes', 'val', 'test', 'groups', 'seed', 'values', 'colors', 'network', 'iters', 'scale', 'crop',
    'minutes',
)  # fmt: skip
"""Flags that choose what a base config has."""


def parse_args() -> argparse.Namespace:
    """Flags of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='examples:\n'
        f'  {tool("make_config")} mine/images mine/masks --classes background crack --out crack\n'
        f'  {tool("make_config")} --base my_config.py --unlabeled DIR --method u2pl --out child.py',
    )
    parser.add_argument('images', nargs='?', help='folder of the images, searched recursively')
    parser.add_argument('masks', nargs='?', help='folder of masks of some of them: same names')
    parser.add_argument('--base', metavar='CONFIG', help='an mmseg config, instead of folders')
    parser.add_argument(
        '--classes', nargs='+', metavar='NAME', help='names of the labels 0, 1, ...'
    )
    parser.add_argument('--out', required=True, help='folder to write; with --base, the child')
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
        '--test', nargs=2, metavar=('IMAGES', 'MASKS'), help='test set; default: that of --val'
    )
    parser.add_argument(
        '--groups',
        metavar='FILE|REGEX',
        help='images of a group stay on one side, as in tools/make_splits.py',
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed of the lists; default: 0')
    parser.add_argument(
        '--values', nargs='+', type=int, metavar='V', help='gray value of each class in the masks'
    )
    parser.add_argument(
        '--colors',
        nargs='+',
        metavar='NAME=#RRGGBB|FILE',
        help='color of each class in RGB masks, or files of such lines; ignore=#RRGGBB',
    )
    parser.add_argument('--method', choices=METHODS, default=DEFAULT, help=f'default: {DEFAULT}')
    parser.add_argument('--network', choices=list(NETWORKS), help='a file of _base_/models')
    parser.add_argument('--iters', type=int, metavar='N', help='length of the training')
    parser.add_argument(
        '--scale', type=int, metavar='SHORT_SIDE', help='short side of the input, pixels'
    )
    parser.add_argument(
        '--crop', type=int, nargs=2, metavar=('H', 'W'), help='height and width of training crops'
    )
    parser.add_argument(
        '--minutes',
        type=float,
        help='time limit for training, to choose the input size; default: 60 on a CPU, no limit on a '
        'GPU',
    )
    parser.add_argument('--force', action='store_true', help='overwrite other content')
    return parser.parse_intermixed_args()


def make_config(args: argparse.Namespace, console: Console) -> None:
    """Read, choose, write, and say what was chosen.

    Raises:
        ValueError: A mistake in the request or the files.
        OSError: A file or folder is missing, or would be overwritten.
    """
    if not (args.images and args.masks and args.classes):
        raise ValueError('give IMAGES MASKS --classes NAME NAME, or --base CONFIG')
    if len(args.classes) < 2 or len(set(args.classes)) < len(args.classes):
        given = ' '.join(args.classes)
        raise ValueError(f'--classes {given}: give two or more different names, background too')
    if len(args.classes) > IGNORE:
        raise ValueError(
            f'--classes: {len(args.classes)} names, but masks hold 0 ... 254; {IGNORE} means ignore'
        )
    if args.out.endswith('.py'):
        raise ValueError(f'--out {args.out}: a folder is written; a .py file goes with --base')
    folder, mask_folder, out = Path(args.images), Path(args.masks), Path(args.out)
    pairs = [(args.images, args.masks), *([args.test] if args.test else [])]
    for images_of, masks_of in pairs:
        require_outside(images_of, masks_of)
        require_outside(masks_of, images_of)
        if args.unlabeled:
            require_outside(args.unlabeled, masks_of)
    if args.values and args.colors:
        raise ValueError('--values are of gray masks, --colors of RGB masks: give one of them')
    colors = parse_colors(args.colors, args.classes) if args.colors else None
    images = read_images(folder)
    own = read_own_masks(images.paths, mask_folder, args.classes, args.values, colors)
    test, test_masks = [Path(place) for place in args.test or (folder, mask_folder)], None
    test_paths: list[Path] = []
    if args.test:
        paths = read_images(test[0]).paths
        found = own.loading.get('values', ())  # a test set may show one of two classes
        values = args.values or [value for value, label in found if label != IGNORE] or None
        tested = read_own_masks(paths, test[1], args.classes, values, colors)
        if tested.loading != own.loading:
            raise ValueError(f'{args.test[1]!r} are {tested.kind} masks, {args.masks!r} {own.kind}')
        test_masks = tested.masks
        test_paths = [paths[stem] for stem in tested.masks.stems]
    options = {key: getattr(args, key) for key in ('val', 'unlabeled', 'groups', 'seed')}
    lists = draw_lists(
        folder, images, own.masks, args.classes, **options, test=test_masks, test_paths=test_paths
    )

    network = choose_network(images, args.network)
    method = read_method(args.method, small=network.value.startswith('fpn'))
    sizes = {name: len(part) for name, part in lists.stems.items()}
    with console.status('measuring a few training steps'):
        pace = measure_pace(network.value, method, len(args.classes), PER_STEP)
    choices = choose(images, own, sizes, method, network, args, pace)
    folders = dict(
        images=folder,
        masks=mask_folder,
        unlabeled=lists.unlabeled_folder,
        lists=out / 'splits',
        test_images=test[0],
        test_masks=test[1],
    )
    texts = folder_texts(
        out, method, choices, args.classes, own, folders, command(), 'test' if args.test else 'val'
    )
    contents = list_files(out / 'splits', lists.stems, lists.provenance)
    contents.update((path, text.encode()) for path, text in texts.items())
    changed = write_files(contents, args.force)

    table = Table(title='Chosen from your data', title_style='bold')
    for title in ('setting', 'value', 'why'):
        table.add_column(title, overflow='fold')
    for part, reason in lists.reasons.items():
        table.add_row(part, str(sizes[part]), escape(reason))
    for setting, (value, why) in choices.items():
        if isinstance(value, tuple):
            value = ' × '.join(map(str, value))
        table.add_row(setting, escape(str(value)), escape(why))
    console.print(table)
    for note in lists.notes:
        console.print(f'[yellow]warning:[/] {escape(note)}', soft_wrap=True)
    say_next(console, list(texts)[:-1], changed)


def make_child(args: argparse.Namespace, console: Console) -> None:
    """Write a child of a config, and its supervised baseline. Errors as :func:`child_texts`."""
    if args.images or not args.unlabeled or args.method == 'supervised':
        raise ValueError('--base goes with --unlabeled DIR and a semi-supervised --method')
    for name, value in vars(args).items():
        if name in OF_FOLDERS and value not in (None, 0):
            raise ValueError(f'--{name} does not go with --base: a child keeps what its base has')
    out = Path(args.out)
    if out.suffix != '.py':
        raise ValueError(f'--out {args.out}: with --base, give the path of a .py file')
    method = read_method(args.method)
    texts = child_texts(config_path(args.base), Path(args.unlabeled), method, out, command())
    changed = write_files({path: text.encode() for path, text in texts.items()}, args.force)
    say_next(console, [path for path in texts if path.suffix == '.py'], changed)


def command() -> str:
    """The command line, as a config's first line has it."""
    words = shlex.join(word for word in sys.argv[1:] if word != '--force')
    return f'{tool("make_config")} {words}'


def say_next(console: Console, configs: list[Path], changed: bool) -> None:
    """What was written, and what to run now: look, train, test."""
    verb = 'written' if changed else 'unchanged'
    console.print(escape(f'{", ".join(map(str, configs))} {verb}\n'), soft_wrap=True)
    main, *baseline = (shlex.quote(os.path.normpath(path)) for path in configs)
    lines = [
        f'{tool("browse_dataset")} {main}  # see what the network gets',
        f'{tool("train")} {main}',
        *(f'{tool("train")} {path}  # without unlabeled images' for path in baseline),
        f'{tool("test")} {main} {shlex.quote(f"work_dirs/{configs[0].stem}/")}best_*.pth',
    ]
    for line in ('[bold]Next[/]', *map(escape, lines)):
        console.print(line, soft_wrap=True)


@command_line
def main() -> None:
    """Write the config of a folder, or a child of one."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    logging.getLogger('PIL').setLevel(logging.ERROR)
    (make_child if args.base else make_config)(args, Console(highlight=False))


if __name__ == '__main__':
    main()
