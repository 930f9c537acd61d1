"""Decode every image and mask of a config's training, validation and test data; list problems.

Training itself checks that files exist and reads their headers. This tool decodes them whole, so it
also finds files that were cut off in a copy. Exit code 1 if there are problems.
"""

from __future__ import annotations

import argparse
import os
import warnings

from mmengine.config import DictAction
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmseg_u2pl.cli import load_scoped_config
from mmseg_u2pl.prepare.data_check import DataSetReport, check_data


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override settings: key=value'
    )
    parser.add_argument('--split', help='name of the split, where the config has several')
    return parser.parse_args()


def summary_table(reports: list[DataSetReport]) -> Table:
    """A column a data set: images, masks, sizes, problems, class shares in %."""
    table = Table(title='Data, with class shares in % of labeled pixels', title_style='bold')
    table.add_column('', no_wrap=True)
    for report in reports:
        table.add_column(report.name, justify='right')
    table.add_row('images', *(str(r.num_images) for r in reports), style='bold')
    table.add_row('masks', *(str(r.num_masks) for r in reports))
    table.add_row('sizes', *(r.sizes for r in reports))
    table.add_row('problems', *(str(len(r.problems)) for r in reports))
    for name in dict.fromkeys(name for r in reports for name in r.class_shares):
        cells = (f'{100 * r.class_shares[name]:.2f}' if r.class_shares else '' for r in reports)
        table.add_row(escape(name), *cells)
    return table


def main() -> None:
    """A user's mistake ends in one line."""
    args = parse_args()
    if args.split:
        os.environ['SPLIT'] = args.split  # the config asks for it when it is parsed
    warnings.filterwarnings('ignore')
    console = Console()
    try:
        reports = check_data(load_scoped_config(args))
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from None
    for report in reports:
        for problem in report.problems:
            console.print(
                f'[red]{report.name}:[/] {escape(problem)}', highlight=False, soft_wrap=True
            )
    console.print(summary_table(reports))
    if any(report.problems for report in reports):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
