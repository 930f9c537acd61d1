"""Compare methods over seeds: a Markdown table of mean ± std from the test runs' metrics."""

from __future__ import annotations

import argparse

from mmseg_u2pl.report import markdown_table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: tools/report.py supervised work_dirs/sup_s0 work_dirs/sup_s1 -- '
        'U2PL work_dirs/u2pl_s0 work_dirs/u2pl_s1',
    )
    parser.add_argument(
        '--predictor', default='teacher', help='whose metrics, where a run has many'
    )
    parser.add_argument(
        'runs', nargs='+', metavar='NAME WORK_DIR [WORK_DIR ...] [-- NAME ...]', help='groups'
    )
    args, rest = parser.parse_known_args()
    groups: list[list[str]] = [[]]
    for word in (*args.runs, *rest):
        if word == '--':
            groups.append([])
        else:
            groups[-1].append(word)
    if any(len(group) < 2 for group in groups):
        parser.error('each group is a name and at least one work dir')
    print(markdown_table({group[0]: group[1:] for group in groups}, args.predictor))


if __name__ == '__main__':
    main()
