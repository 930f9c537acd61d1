"""Import published lists of labeled images, so that the configs find them and know their family.

Families: u2pl (Haochen-Wang409/U2PL), cps (charlesCXK/TorchSemiSeg) and unimatch
(LiheYoung/UniMatch, which has the lists of CPS). The classic lists of VOC are the same in all.
"""

from __future__ import annotations

import argparse
import os

from rich.console import Console
from rich.table import Table

from mmseg_u2pl.datasets.converters.split_import import import_splits
from mmseg_u2pl.datasets.converters.split_schemes import FAMILIES, SCHEMES

ROOTS = {
    'voc': ('VOC_ROOT', 'data/VOCdevkit/VOC2012'),
    'cityscapes': ('CITYSCAPES_ROOT', 'data/cityscapes'),
}


def parse_args() -> argparse.Namespace:
    """Flags of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example: tools/dataset_converters/import_splits.py voc --family u2pl '
        'U2PL/data/splits/pascal',
    )
    parser.add_argument('dataset', choices=SCHEMES)
    parser.add_argument(
        'lists', nargs='+', help='lists of labeled images, or folders of *labeled*.txt'
    )
    parser.add_argument('--family', required=True, choices=FAMILIES, help='whose lists they are')
    parser.add_argument(
        '--data-root', help='the prepared data set (default: $VOC_ROOT or data/VOCdevkit/VOC2012, '
        '$CITYSCAPES_ROOT or data/cityscapes)',
    )  # fmt: skip
    parser.add_argument('--force', action='store_true', help='overwrite lists of other content')
    return parser.parse_args()


def main() -> None:
    """A user's mistake ends in one line."""
    args = parse_args()
    variable, folder = ROOTS[args.dataset]
    root = args.data_root or os.environ.get(variable, folder)
    try:
        splits = import_splits(SCHEMES[args.dataset], args.family, args.lists, root, args.force)
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from None
    table = Table('list', 'family', 'labeled', 'unlabeled')
    for split in sorted(splits):
        sizes = (str(len(split.labeled)), str(len(split.unlabeled)))
        table.add_row(split.name, split.family, *sizes)
    console = Console()
    console.print(table)
    if FAMILIES[args.family] != args.family:
        console.print(f'{args.family} has the lists of {FAMILIES[args.family]}; named so')
    console.print(f'written to {root}/splits', highlight=False, soft_wrap=True)


if __name__ == '__main__':
    main()
