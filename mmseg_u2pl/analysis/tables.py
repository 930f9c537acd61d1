"""What tables on the terminal share."""

import math

from rich.table import Table


def new_table(title: str, *columns: str) -> Table:
    """A table to print with ``rich``: a column of names, then columns of numbers."""
    table = Table(title=title, title_style='bold')
    for index, name in enumerate(columns):
        table.add_column(name, justify='right' if index else 'left')
    return table


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, without the sign; a dash for NaN."""
    return '–' if math.isnan(share) else f'{100 * share:.{digits}f}'
