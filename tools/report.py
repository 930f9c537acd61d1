"""Compare runs: a Markdown table of mean ± std over seeds, from the metrics of their tests.

Runs of one config are seeds of a method, which has its name. Each method is shown by its predictor.
Runs on lists of different families, or scored on different images, are refused. --html also writes a
page with differences by seed, curves and pictures, which works offline, and the table beside it.
--write makes the tables and plots of Markdown files from a results file (docs/results.md says how).
"""

import argparse
import warnings
from pathlib import Path

from mmseg_u2pl.analysis.comparison import group_runs
from mmseg_u2pl.analysis.experiments import read_results
from mmseg_u2pl.analysis.page import write_page
from mmseg_u2pl.analysis.report import markdown_table
from mmseg_u2pl.analysis.result_tables import write
from mmseg_u2pl.cli import command_line, tool


@command_line
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("report")} work_dirs/pair_street/street_*s? --html report.html',
    )
    parser.add_argument(
        'runs',
        nargs='*',
        metavar='RUN',
        help='work dir of a training that was tested in RUN/test, or of a test; the page compares with '
        'the supervised baseline or, without one, with the method of the first RUN',
    )
    parser.add_argument(
        '--html',
        metavar='FILE',
        help='the page, of trainings; their best checkpoints are those tested in RUN/test_best',
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
        help='methods of the table on few and on all labels: adds how much of the gap is closed',
    )
    parser.add_argument('--write', nargs='+', metavar='FILE', help='Markdown files to fill')
    parser.add_argument(
        '--results',
        default='results/runs.jsonl',
        help='results file that --write reads; default: results/runs.jsonl',
    )
    args = parser.parse_args()
    if bool(args.runs) == bool(args.write):
        parser.error('either RUN or --write')
    if args.write and not Path(args.results).is_file():
        parser.error(f'{args.results} does not exist')
    if args.html and not (args.runs and args.html.endswith('.html')):
        parser.error('--html FILE.html goes with RUN')
    warnings.filterwarnings('ignore')
    runs = group_runs(args.runs)
    for path in args.write or ():
        write(path, read_results(args.results))
    if args.html:
        write_page(runs, args.html, args.predictor, args.gap)
    if not args.write:
        print(markdown_table(runs, args.predictor, args.gap))


if __name__ == '__main__':
    main()
