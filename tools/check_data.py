"""Decode every image and mask of a config's training, validation and test data; list problems.

Training itself checks that files exist and reads their headers. This tool decodes them whole, so it
also finds files that were cut off in a copy. Exit code 1 if there are problems.
"""

import argparse
import warnings

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmseg_u2pl.cli import add_config_arguments, command_line, load_scoped_config, tool
from mmseg_u2pl.prepare.data_check import DataSetReport, check_data


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example: {tool("check_data")} configs/u2pl/u2pl_effnet-lite0_small.py --data synthetic',
    )
    parser.add_argument('config', help='config file')
    add_config_arguments(parser)
    return parser.parse_args()


def summary_table(reports: list[DataSetReport]) -> Table:
    """A row a data set: images, masks, problems, the most frequent image size."""
    table = Table('data', 'images', 'masks', 'problems', 'most frequent size')
    for report in reports:
        size = ''.join(f'{w}x{h}' for (w, h), _ in report.sizes.most_common(1))
        numbers = report.sizes.total(), report.num_masks, len(report.problems)
        table.add_row(report.name, *map(str, numbers), size)
    return table


@command_line
def main() -> None:
    """Check, and list what is wrong."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    console = Console()
    reports = check_data(load_scoped_config(args))
    for report in reports:
        for problem in report.problems:
            text = f'[red]{report.name}:[/] {escape(problem)}'
            console.print(text, highlight=False, soft_wrap=True)
    console.print(summary_table(reports))
    if any(report.problems for report in reports):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
