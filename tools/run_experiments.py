"""Train and test every run of a list, nothing twice, and append a line a run to a results file.

Interrupted, even by SIGKILL, it continues where it stopped when it is started again. Several may
share a list and a work dir. docs/results.md says what a list looks like.
"""

import argparse
import logging
import warnings
from pathlib import Path

from rich.console import Console

from mmseg_u2pl.analysis.experiment_runner import run_or_exit
from mmseg_u2pl.analysis.experiment_worker import Worker
from mmseg_u2pl.analysis.experiments import chosen, read_list
from mmseg_u2pl.cli import command_line, positive, tool

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example: {tool("run_experiments")} results/experiments.yml --jobs 2',
    )
    parser.add_argument('list', help='YAML file of the runs')
    parser.add_argument(
        '--only', nargs='+', default=[], metavar='PATTERN',
        help="runs whose folder NAME_DATA_SPLIT_sSEED matches, such as 'fmb_2500_b8_*'",
    )  # fmt: skip
    parser.add_argument(
        '--results',
        default='results/runs.jsonl',
        help='a line of JSON for each run; default: results/runs.jsonl',
    )
    parser.add_argument(
        '--work-dir',
        default='work_dirs/experiments',
        help='folder of the runs; default: work_dirs/experiments',
    )
    parser.add_argument(
        '--jobs', type=positive, help='processes at once (default: one a GPU or core)'
    )
    return parser.parse_args()


@command_line
def main() -> None:
    """Run the list; exit code 1 if a run failed."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.INFO)  # mmengine says which variables a config reads
    console = Console(highlight=False)
    results = Path(args.results)
    experiments = chosen(read_list(args.list), args.only)
    worker = Worker(ROOT, Path(args.work_dir), results)
    run_or_exit(worker, experiments, args.jobs, console)


if __name__ == '__main__':
    main()
