"""Compare methods over seeds: a Markdown table of mean ± std from the metrics of test runs.

Runs of different methods share a table: each is shown by its predictor. Runs on lists of different
families, or scored on different images, do not. ``--html`` also writes a page with differences by seed,
curves and pictures, which works offline, and the table beside it. ``--write`` makes the tables and plots
of Markdown files from a results file (docs/results.md says how).
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from mmseg_u2pl.analysis.experiments import read_results
from mmseg_u2pl.analysis.page import write_page
from mmseg_u2pl.analysis.report import markdown_table
from mmseg_u2pl.analysis.result_tables import write
from mmseg_u2pl.cli import command_line


@command_line
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: tools/report.py --run supervised work_dirs/sup_s0 work_dirs/sup_s1 '
        '--run U2PL work_dirs/u2pl_s0 work_dirs/u2pl_s1 --html report.html',
    )
    parser.add_argument(
        '--run',
        action='append',
        nargs='+',
        default=[],
        metavar=('NAME', 'WORK_DIR'),
        help='a method and the work dirs of its trainings, tested in WORK_DIR/test, or of its tests, '
        'one a seed; repeat it; the page compares the others with the first',
    )
    parser.add_argument(
        '--html',
        metavar='FILE',
        help='the page, of trainings; their best checkpoints are those tested in WORK_DIR/test_best',
    )
    parser.add_argument(
        '--predictor',
        nargs='+',
        default=(),
        metavar='NAME',
        help='whose metrics, such as student network1: of each run the first that it has '
        "(default: the run's model.predictor)",
    )
    parser.add_argument(
        '--gap',
        nargs=2,
        metavar=('FEW', 'ALL'),
        help='names of the methods on few and on all labels: adds how much of the gap is closed',
    )
    parser.add_argument('--write', nargs='+', metavar='FILE', help='Markdown files to fill')
    parser.add_argument(
        '--results', default='results/runs.jsonl', help='from which --write does it'
    )
    args = parser.parse_args()
    if bool(args.run) == bool(args.write):
        parser.error('either --run or --write')
    if args.write and not Path(args.results).is_file():
        parser.error(f'{args.results} does not exist')
    if args.html and not (args.run and args.html.endswith('.html')):
        parser.error('--html FILE.html goes with --run')
    for name, *folders in args.run:
        if not folders:
            parser.error(f'--run {name}: no work dir')
    warnings.filterwarnings('ignore')
    runs = {name: folders for name, *folders in args.run}
    for path in args.write or ():
        write(path, read_results(args.results))
    if args.html:
        write_page(runs, args.html, args.predictor, args.gap)
    if not args.write:
        print(markdown_table(runs, args.predictor, args.gap))


if __name__ == '__main__':
    main()
