"""Prepare PASCAL VOC 2012: 10 582 training images ("train_aug") with the extra masks of SBD.

Unpack both downloads first. The same command continues after an interruption. Without --sbd, checks
the masks that exist.
"""

from __future__ import annotations

import argparse
import os
import sys

from mmseg_u2pl.prepare.converters.voc import prepare_voc


def parse_args() -> argparse.Namespace:
    """Flags of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example:\n'
        '  mkdir -p data && tar -xf VOCtrainval_11-May-2012.tar -C data && tar -xzf benchmark.tgz\n'
        '  tools/dataset_converters/voc12.py --sbd benchmark_RELEASE/dataset',
    )
    parser.add_argument('--sbd', metavar='DIR', help='unpacked folder "dataset" of benchmark.tgz')
    parser.add_argument(
        '--data-root',
        default=os.environ.get('VOC_ROOT', 'data/VOCdevkit/VOC2012'),
        help='the unpacked VOCdevkit/VOC2012 (default: $VOC_ROOT, else data/VOCdevkit/VOC2012)',
    )
    return parser.parse_args()


def main() -> None:
    """A user's mistake ends in one line and exit code 2."""
    args = parse_args()
    try:
        counts = prepare_voc(args.data_root, args.sbd)
    except (ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit('interrupted: the same command continues') from None
    print(f'{args.data_root}: {", ".join(f"{n} {part}" for part, n in counts.items())}, checked')


if __name__ == '__main__':
    main()
