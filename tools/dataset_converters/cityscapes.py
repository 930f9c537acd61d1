"""Prepare Cityscapes: masks of its 19 classes from those of all labels.

Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip at the data root first. The same
command continues after an interruption, and checks the masks when all are made.
"""

from __future__ import annotations

import argparse
import os
import sys

from mmseg_u2pl.prepare.converters.cityscapes import COUNTS, prepare_cityscapes


def parse_args() -> argparse.Namespace:
    """Flags of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--data-root',
        default=os.environ.get('CITYSCAPES_ROOT', 'data/cityscapes'),
        help='folder of leftImg8bit and gtFine (default: $CITYSCAPES_ROOT, else data/cityscapes)',
    )
    return parser.parse_args()


def main() -> None:
    """A user's mistake ends in one line and exit code 2."""
    args = parse_args()
    try:
        made = prepare_cityscapes(args.data_root)
    except (ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit('interrupted: the same command continues') from None
    parts = ', '.join(f'{COUNTS[part]} {part} ({made[part]} masks made)' for part in made)
    print(f'{args.data_root}: {parts}, checked')


if __name__ == '__main__':
    main()
