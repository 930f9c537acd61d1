"""Tables of what was measured."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.table import Table

CLASS_PREFIX = 'IoU.'


def gain_table(
    before: Mapping[str, float], after: Mapping[str, float], names: tuple[str, str]
) -> Table:
    """IoU of each class and their mean, before and after, and the difference.

    Args:
        before: Metrics of ``ClassIoUMetric``: ``mIoU`` and ``IoU.<class>``, percent.
        after: The same of the other model.
        names: Column titles.

    Returns:
        A table to print with ``rich``.
    """
    table = Table(title='IoU on the test images, %', title_style='bold')
    table.add_column('class')
    for name in (*names, 'difference'):
        table.add_column(name, justify='right')
    keys = [key for key in before if key.startswith(CLASS_PREFIX)]
    for key in (*keys, 'mIoU'):
        gain = after[key] - before[key]
        style = 'green' if gain > 0 else 'red'
        if key == 'mIoU':
            table.add_section()
        table.add_row(
            key.removeprefix(CLASS_PREFIX),
            f'{before[key]:.1f}',
            f'{after[key]:.1f}',
            f'[{style}]{gain:+.1f}[/]',
            style='bold' if key == 'mIoU' else '',
        )
    return table


def read_test_metrics(work_dir: str | Path) -> dict[str, float]:
    """The newest metrics that a test run wrote below a work dir.

    Raises:
        FileNotFoundError: No test has run there.
    """
    # mmengine writes <work_dir>/<time>/<time>.json; training logs have other names
    files = sorted(p for p in Path(work_dir).glob('*/*.json') if p.stem == p.parent.name)
    if not files:
        raise FileNotFoundError(
            f'no test metrics below {str(work_dir)!r}: run tools/test.py with --work-dir there'
        )
    return json.loads(files[-1].read_text().splitlines()[-1])


def mean_std(values: Sequence[float]) -> str:
    """``mean ± sample standard deviation``; the mean alone for a single run."""
    if any(math.isnan(value) for value in values):
        return 'nan'
    mean = f'{statistics.mean(values):.1f}'
    return mean if len(values) == 1 else f'{mean} ± {statistics.stdev(values):.1f}'


def markdown_table(
    runs: Mapping[str, Iterable[str | Path]],
    predictor: str = '',
    gap: tuple[str, str] | None = None,
) -> str:
    """A Markdown table, one row a method, from the test metrics of its runs.

    Args:
        runs: Work dirs of the seeds of each method.
        predictor: Which predictor's metrics, such as ``'teacher'``, where a run has several.
        gap: Names of the methods on few and on all labels. Adds how much of the way from the one
            to the other, in mean mIoU, each method goes.

    Returns:
        Columns: method, seeds, mIoU and each class, mean ± std in percent.

    Raises:
        FileNotFoundError: A run has no test metrics.
        ValueError: The runs have different classes, or ``gap`` names none of them.
    """
    results = {
        method: [_of_predictor(read_test_metrics(folder), predictor) for folder in folders]
        for method, folders in runs.items()
    }
    unknown = set(gap or ()) - set(results)
    if unknown:
        raise ValueError(f'--gap names {sorted(unknown)}, but the runs are {list(results)}')
    means = {m: statistics.mean(own['mIoU'] for own in owns) for m, owns in results.items()}
    classes = _classes(next(iter(results.values()))[0])
    keys = [CLASS_PREFIX + name for name in classes]
    lines: list[list[str]] = []
    for method, owns in results.items():
        if _classes(owns[0]) != classes:
            raise ValueError(f'{method} has the classes {_classes(owns[0])}, others {classes}')
        closed = [_closed(means[method], *(means[name] for name in gap))] if gap else []
        cells = [mean_std([own[key] for own in owns]) for key in ('mIoU', *keys)]
        lines.append([method, str(len(owns)), cells[0], *closed, *cells[1:]])
    header = ['method', 'seeds', 'mIoU', *(['gap closed'] if gap else []), *classes]
    rule = ['---', *('---:' for _ in header[1:])]
    return '\n'.join(f'| {" | ".join(row)} |' for row in (header, rule, *lines))


def _classes(metrics: Mapping[str, float]) -> list[str]:
    return [key.removeprefix(CLASS_PREFIX) for key in metrics if key.startswith(CLASS_PREFIX)]


def _closed(value: float, floor: float, ceiling: float) -> str:
    """Share of the way from ``floor`` to ``ceiling``; a dash where that is no way up."""
    return f'{(value - floor) / (ceiling - floor):.0%}' if ceiling > floor else '–'


def _of_predictor(metrics: Mapping[str, float], predictor: str) -> dict[str, float]:
    """Metrics of one predictor, or those of a run that has only one."""
    own = {
        key.removeprefix(f'{predictor}/'): value
        for key, value in metrics.items()
        if key.startswith(f'{predictor}/')
    }
    return own or dict(metrics)
