"""Compare methods over seeds: a Markdown table of mean ± std from the test runs' metrics."""

from __future__ import annotations

import argparse

from mmseg_u2pl.report import markdown_table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: tools/report.py --run supervised work_dirs/sup_s0 work_dirs/sup_s1 '
        '--run U2PL work_dirs/u2pl_s0 work_dirs/u2pl_s1',
    )
    parser.add_argument(
        '--run',
        action='append',
        nargs='+',
        required=True,
        metavar=('NAME', 'WORK_DIR'),
        help='a method and the work dirs of its test runs, one a seed; repeat it',
    )
    parser.add_argument(
        '--predictor', default='teacher', help='whose metrics, where there are more'
    )
    args = parser.parse_args()
    for name, *folders in args.run:
        if not folders:
            parser.error(f'--run {name}: no work dir')
    print(markdown_table({name: folders for name, *folders in args.run}, args.predictor))


if __name__ == '__main__':
    main()
