"""Train a config and its supervised baseline with equal budget, test both, and compare them.

Nothing is run twice: stopped at any moment, the same command continues. It ends with report.html in
the work dir, the page of tools/report.py, and the Markdown table beside it.
"""

import argparse
import logging
import os
import warnings
from pathlib import Path

from rich.console import Console

from mmseg_u2pl.analysis.comparison import group_runs
from mmseg_u2pl.analysis.experiment_runner import run_or_exit
from mmseg_u2pl.analysis.experiment_worker import Worker
from mmseg_u2pl.analysis.experiments import Experiment, pair, supervised_baseline
from mmseg_u2pl.analysis.page import write_page
from mmseg_u2pl.cli import add_config_arguments, command_line, load_scoped_config, positive, tool
from mmseg_u2pl.compat import config_path

ROOT = Path(__file__).resolve().parents[1]


@command_line
def main() -> None:
    """Run the pair and write the page; exit code 1 if a run failed."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("run_pair")} configs/u2pl/u2pl_effnet-lite0_small.py --data synthetic',
    )
    parser.add_argument('config', help='config of a semi-supervised method')
    parser.add_argument('--baseline', metavar='CONFIG', help='default: found by its name')
    parser.add_argument(
        '--seeds', type=positive, default=3, metavar='N', help='0 to N-1; default: 3'
    )
    parser.add_argument('--work-dir', help='default: work_dirs/pair_CONFIG_DATA_SPLIT_N-iters')
    parser.add_argument(
        '--jobs', type=positive, help='processes at once (default: one a GPU or core)'
    )
    add_config_arguments(parser)
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.INFO)  # mmengine says which variables a config reads
    load_scoped_config(args)  # mistakes first
    name, options = Path(args.config).stem, args.cfg_options or {}
    config = os.path.relpath(args.config, ROOT)
    if args.iters:
        options |= {'max_iters': args.iters}
    method = Experiment(name, config, args.data or '', args.split or '', 0, options, {})
    given = args.baseline and config_path(args.baseline)
    baseline = given or supervised_baseline(args.config)
    experiments = pair(method, baseline, args.seeds, ROOT)
    folder = method.folder.removesuffix('_s0')
    length = f'_{args.iters}-iters' if args.iters else ''
    work_dir = Path(args.work_dir or f'work_dirs/pair_{folder}{length}')
    worker = Worker(ROOT, work_dir, work_dir / 'runs.jsonl', data_dir=Path.cwd())
    for experiment in experiments:
        worker.load(experiment)
        worker.check(experiment, work_dir)
    console = Console(highlight=False)
    run_or_exit(worker, experiments, args.jobs, console)
    runs = group_runs([work_dir / experiment.folder for experiment in experiments])
    console.print(
        f'The comparison: {write_page(runs, work_dir / "report.html")}',
        soft_wrap=True,
        markup=False,
    )


if __name__ == '__main__':
    main()
