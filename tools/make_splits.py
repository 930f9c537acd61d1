"""Make lists of labeled, unlabeled and held-out images, fairly and reproducibly.

Sizes are numbers (12) or ratios (1/16, 0.0625) of the images that have a mask and are not held
out; a ratio is rounded half up and gives at least one image. Several are nested: the smaller
list is in the larger.
"""

import argparse
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmseg_u2pl.cli import command_line, tool
from mmseg_u2pl.datasets.files import numbered_lines, require_outside, sha256_of, stem_of
from mmseg_u2pl.datasets.provenance import list_record
from mmseg_u2pl.prepare.index_masks import Masks, find_images, read_masks
from mmseg_u2pl.prepare.split_files import (
    list_warnings,
    parse_size,
    read_groups,
    read_list,
    summarize,
    write_lists,
)
from mmseg_u2pl.prepare.splits import make_lists
from mmseg_u2pl.version import __version__

WHOLE = 'all images'


def parse_args() -> argparse.Namespace:
    """Flags of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example: {tool("make_splits")} img_dir/train --masks ann_dir/train '
        '--labeled 1/16 1/8 --holdout 1/10 --method stratified --out splits',
    )
    parser.add_argument('images', help='folder of the images, searched recursively')
    parser.add_argument(
        '--masks',
        help='folder of index masks, named as the images, or a list of the images that have one '
        '(one a line, no suffix); images without can only be unlabeled. Default: all may be '
        'labeled, as when you choose which to annotate',
    )
    parser.add_argument(
        '--labeled', nargs='+', metavar='N|RATIO', required=True, help='sizes of the labeled lists'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the lists')
    parser.add_argument(
        '--method',
        choices=['plain', 'stratified'],
        default='plain',
        help='plain (default): at random; stratified: class shares near those of all masks, and every '
        'class as early as possible',
    )
    parser.add_argument(
        '--groups',
        metavar='FILE|REGEX',
        help='images of a group stay together, as frames of a video should: lines of '
        "stem<TAB>group, or a regex whose first (...) is the group, as '^(seq[0-9]+)_'. Sizes are "
        'then met as nearly as whole groups allow',
    )
    parser.add_argument(
        '--holdout',
        metavar='N|RATIO',
        help='also draw, first, images with masks to choose settings on; in no other list',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='another seed, another draw; default: 0'
    )
    parser.add_argument(
        '--classes', nargs='+', metavar='NAME', help='names of the labels 0, 1, ...'
    )
    parser.add_argument(
        '--force', action='store_true', help='overwrite lists of other content in DIR'
    )
    return parser.parse_args()


def options(args: argparse.Namespace) -> dict[str, Any]:
    """What determines the lists besides the files; no paths, which differ between machines."""
    chosen = ('labeled', 'method', 'holdout', 'seed', 'classes')
    groups = args.groups
    if groups and Path(groups).is_file():
        groups = dict(file=Path(groups).name, sha256=sha256_of(Path(groups).read_bytes()))
    masks = None if args.masks is None else 'list' if Path(args.masks).is_file() else 'folder'
    return {**{key: getattr(args, key) for key in chosen}, 'groups': groups, 'masks': masks}


def split_table(summary: Mapping[str, Mapping[str, Any]]) -> Table:
    """A column a list to train or choose on: images, class shares in percent, missing classes."""
    own = {name: s for name, s in summary.items() if not name.endswith('unlabeled')}
    table = Table(title='Lists, with class shares in % of labeled pixels', title_style='bold')
    table.add_column('', no_wrap=True)
    for name in own:
        table.add_column(' '.join(name.rsplit('_', 1)), justify='right')
    table.add_row('images', *(str(s['images']) for s in own.values()), style='bold')
    rest = [summary.get(name.replace('_labeled', '_unlabeled'), {}) for name in own]
    counts = [str(s.get('images', '')) if s not in own.values() else '' for s in rest]
    if any(counts):
        table.add_row('unlabeled', *counts)
    whole = summary[WHOLE]
    if 'class_share' in whole:
        table.add_section()
        for key in whole['class_share']:
            if key in whole['classes_missing'] or whole['class_share'][key] > 0:
                table.add_row(escape(key), *(_share(s, key) for s in own.values()))
        table.add_section()
        table.add_row('missing', *(_names(s['classes_missing']) for s in own.values()))
    return table


def _share(own: Mapping[str, Any], key: str) -> str:
    return '[red]–[/]' if key in own['classes_missing'] else f'{100 * own["class_share"][key]:.2f}'


def _names(missing: list[str]) -> str:
    return f'[red]{escape(", ".join(missing))}[/]' if missing else 'none'


def make_splits(args: argparse.Namespace, console: Console) -> None:
    """Read, choose, write, and say what came of it.

    Raises:
        ValueError: A mistake in the request or the files.
        OSError: A file or folder is missing, or would be overwritten.
    """
    if args.classes and len(set(args.classes)) < len(args.classes):
        raise ValueError(f'--classes {" ".join(args.classes)}: a name is given twice')
    sizes = {text.replace('/', '_'): parse_size(text) for text in args.labeled}
    holdout = parse_size(args.holdout) if args.holdout else None
    images = find_images(args.images)
    stems = list(images)
    groups = read_groups(args.groups, stems) if args.groups else None
    masks: Masks | None = None
    masked = stems
    if args.masks and Path(args.masks).is_file():
        masked = read_list(args.masks, args.images)
    elif args.masks:
        require_outside(args.images, args.masks)
        number = len(args.classes) if args.classes else None
        masks = read_masks(images, args.masks, number)
        masked = masks.stems
    counts = None
    if args.method == 'stratified':
        if masks is None:
            raise ValueError('--method stratified needs a folder of --masks; without it use plain')
        counts = masks.counts
    lists = make_lists(stems, masked, sizes, holdout, counts, groups, args.seed)

    out = Path(args.out)
    others = {path.stem: list_record(path) for path in out.glob('*.txt') if path.stem not in lists}
    held = set(lists.get('holdout', ()))
    for name in others:
        if common := held.intersection(
            stem_of(line) for _, line in numbered_lines(out / f'{name}.txt')
        ):
            raise ValueError(
                f'{out / name}.txt has {len(common)} images that are held out now, such as {min(common)!r}: '
                'remove it, or choose another --out'
            )
    names = args.classes or [str(c) for c in range(masks.counts.shape[1] if masks else 0)]
    summary = summarize({WHOLE: stems, **lists}, masks, names)
    notes = list_warnings(summary)
    provenance = dict(
        tool='make_splits',
        version=__version__,
        options=options(args),
        images=len(stems),
        images_that_may_be_labeled=len(masked),
        groups=len(set(groups)) if groups else None,
        masks_sha256=masks.sha256 if masks else None,
        lists={**{name: record for name, record in others.items() if record}, **summary},
        warnings=notes,
    )
    changed = write_lists(out, lists, provenance, args.force)

    console.print(split_table(summary))
    for note in notes:
        console.print(f'[yellow]warning:[/] {escape(note)}', highlight=False, soft_wrap=True)
    done = f'{len(lists)} lists {"written" if changed else "unchanged"}'
    console.print(f'{escape(args.out)}: {done}', highlight=False, soft_wrap=True)


@command_line
def main() -> None:
    """Write the lists."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    make_splits(args, Console())


if __name__ == '__main__':
    main()
