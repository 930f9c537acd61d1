"""What tables on the terminal share."""

import math

from rich.console import Console
from rich.table import Table


def new_table(title: str, *columns: str) -> Table:
    """A table to print with ``rich``: a column of names, then columns of numbers."""
    table = Table(title=title, title_style='bold')
    for index, name in enumerate(columns):
        table.add_column(name, justify='right' if index else 'left')
    return table


def print_table(table: Table, console: Console) -> None:
    """Print a table whole: what is no terminal is as wide as it needs."""
    if not console.is_terminal:
        console.width = max(console.width, console.measure(table).maximum)
    console.print(table)


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, without the sign; a dash for NaN."""
    return '–' if math.isnan(share) else f'{100 * share:.{digits}f}'
