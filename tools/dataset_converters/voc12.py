"""Make PASCAL VOC 2012 ready: 10 582 training images with the extra masks of SBD.

Run again after an interruption: finished files are kept. Without --voc and --sbd, checks what is
there.
"""

from __future__ import annotations

import argparse
import os

from mmseg_u2pl.datasets.converters.voc import prepare_voc


def parse_args() -> argparse.Namespace:
    """Flags of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example: tools/dataset_converters/voc12.py --voc VOCtrainval_11-May-2012.tar '
        '--sbd benchmark.tgz',
    )
    parser.add_argument(
        '--voc', metavar='TAR', help='VOCtrainval_11-May-2012.tar, where VOC is not unpacked yet'
    )
    parser.add_argument('--sbd', metavar='TGZ|DIR', help='benchmark.tgz, or its folder "dataset"')
    parser.add_argument(
        '--data-root',
        default=os.environ.get('VOC_ROOT', 'data/VOCdevkit/VOC2012'),
        help='the unpacked VOCdevkit/VOC2012 (default: $VOC_ROOT, else data/VOCdevkit/VOC2012)',
    )
    return parser.parse_args()


def main() -> None:
    """A user's mistake ends in one line."""
    args = parse_args()
    try:
        counts = prepare_voc(args.data_root, args.voc, args.sbd)
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from None
    except KeyboardInterrupt:
        raise SystemExit('interrupted: run it again to go on') from None
    print(f'{args.data_root}: {", ".join(f"{n} {part}" for part, n in counts.items())}, checked')


if __name__ == '__main__':
    main()
