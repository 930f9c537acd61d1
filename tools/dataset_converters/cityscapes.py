"""Make Cityscapes ready: masks of its 19 classes from those of all labels.

Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip at the data root first. Run again
after an interruption: finished files are kept. Where all are made, checks them.
"""

from __future__ import annotations

import argparse
import os

from mmseg_u2pl.datasets.converters.cityscapes import COUNTS, prepare_cityscapes


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
    """A user's mistake ends in one line."""
    args = parse_args()
    try:
        made = prepare_cityscapes(args.data_root)
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from None
    except KeyboardInterrupt:
        raise SystemExit('interrupted: run it again to go on') from None
    parts = ', '.join(f'{COUNTS[part]} {part} ({made[part]} masks made)' for part in made)
    print(f'{args.data_root}: {parts}, checked')


if __name__ == '__main__':
    main()
