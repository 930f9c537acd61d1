"""Import published lists of labeled images from a copy of the repository that publishes them.

Families and where they are published:
  classic  parts of VOC's 1464 images; in each of the three repositories
  u2pl     github.com/Haochen-Wang409/U2PL, data/splits (VOC and Cityscapes)
  cps      github.com/charlesCXK/TorchSemiSeg, DATA, and github.com/LiheYoung/UniMatch, splits
  unimatch github.com/LiheYoung/UniMatch, splits (COCO), and github.com/LiheYoung/UniMatch-V2, splits
           (COCO and ADE20K)
The content of a VOC list tells its family; for Cityscapes, --family says it.
"""

import argparse
import os

from mmseg_u2pl.cli import command_line, tool
from mmseg_u2pl.prepare.import_splits import SCHEMES, import_splits

ROOTS = {
    'voc': ('VOC_ROOT', 'data/VOCdevkit/VOC2012'),
    'cityscapes': ('CITYSCAPES_ROOT', 'data/cityscapes'),
    'ade20k': ('ADE20K_ROOT', 'data/ade/ADEChallengeData2016'),
    'coco_stuff': ('COCO_STUFF_ROOT', 'data/coco_stuff164k'),
}


def parse_args() -> argparse.Namespace:
    """Flags of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='examples:\n'
        '  git clone https://github.com/Haochen-Wang409/U2PL\n'
        f'  {tool("import_splits")} voc U2PL\n'
        f'  {tool("import_splits")} cityscapes U2PL --family u2pl\n'
        '  git clone https://github.com/LiheYoung/UniMatch-V2\n'
        f'  {tool("import_splits")} ade20k UniMatch-V2',
    )
    parser.add_argument('dataset', choices=SCHEMES)
    parser.add_argument('folder', help='copy of the repository, or a folder of it')
    parser.add_argument('--family', choices=('u2pl', 'cps'), help='family of Cityscapes lists')
    parser.add_argument(
        '--data-root', help='the prepared data set (default: '
        + ', '.join(f'${variable} or {folder}' for variable, folder in ROOTS.values()) + ')',
    )  # fmt: skip
    parser.add_argument('--force', action='store_true', help='overwrite lists of other content')
    args = parser.parse_args()
    if args.dataset == 'cityscapes' and args.family is None:
        parser.error('the lists of Cityscapes need --family u2pl or --family cps')
    return args


@command_line
def main() -> None:
    """Import the lists and name them."""
    args = parse_args()
    variable, folder = ROOTS[args.dataset]
    root = args.data_root or os.environ.get(variable, folder)
    names = import_splits(SCHEMES[args.dataset], args.folder, root, args.family, args.force)
    print(f'{root}/splits: {", ".join(names)}')


if __name__ == '__main__':
    main()
