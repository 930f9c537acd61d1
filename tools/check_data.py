"""Decode every image and mask of a config's training, validation and test data; list problems.

Training itself checks that files exist and reads their headers. This tool decodes them whole, so it
also finds files that were cut off in a copy. Exit code 1 if there are problems.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmseg_u2pl.cli import add_config_arguments, load_scoped_config
from mmseg_u2pl.prepare.data_check import DataSetReport, check_data

SHOWN = 3  # image sizes, the most frequent


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    add_config_arguments(parser)
    return parser.parse_args()


def summary_table(reports: list[DataSetReport]) -> Table:
    """A column a data set: images, masks, sizes, problems, class shares in %."""
    table = Table(title='Data, with class shares in % of labeled pixels', title_style='bold')
    table.add_column('', no_wrap=True)
    for report in reports:
        table.add_column(report.name, justify='right')
    table.add_row('images', *(str(sum(r.sizes.values())) for r in reports), style='bold')
    table.add_row('masks', *(str(r.num_masks) for r in reports))
    for size in sum((r.sizes for r in reports), start=Counter()).most_common(SHOWN):
        (width, height), _ = size
        table.add_row(f'{width}x{height}', *(str(r.sizes[width, height]) for r in reports))
    table.add_row('problems', *(str(len(r.problems)) for r in reports))
    masked = [r for r in reports if r.num_masks]
    for name in dict.fromkeys(name for r in masked for name in r.classes):
        table.add_row(escape(name), *(_share(r, name) for r in reports))
    return table


def _share(report: DataSetReport, name: str) -> str:
    if name not in report.classes or not report.num_masks:
        return ''
    share = report.counts[report.classes.index(name)] / max(1, report.counts.sum())
    return f'{100 * share:.2f}'


def main() -> None:
    """A user's mistake ends in one line."""
    args = parse_args()
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
