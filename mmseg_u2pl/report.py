"""Tables of what was measured."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.table import Table

from .datasets.provenance import Protocol, same_family, same_scores

CLASS_PREFIX = 'IoU.'
UNKNOWN = 'unknown'


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


def read_test_metrics(work_dir: str | Path) -> dict[str, Any]:
    """The newest metrics that a test run wrote below a work dir, in percent.

    ``protocol`` and ``scored_on``, where there, are the fields of a ``Protocol``.

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

    Runs on lists of several families, or scored on several sets of images, get no common table.
    One family's lists may differ, as 1/16 and 1/8 do, or few labels and all: a column tells.

    Args:
        runs: Work dirs of the seeds of each method.
        predictor: Which predictor's metrics, such as ``'teacher'``, where a run has several.
        gap: Names of the methods on few and on all labels. Adds how much of the way from the one
            to the other, in mean mIoU, each method goes.

    Returns:
        Columns: method, its protocol where they differ, seeds, mIoU and each class, mean ± std in
        percent. A line below names the runs whose protocol is not known.

    Raises:
        FileNotFoundError: A run has no test metrics.
        ValueError: The runs have different classes or protocols, or ``gap`` names none of them.
    """
    tests = {
        method: {str(folder): read_test_metrics(folder) for folder in folders}
        for method, folders in runs.items()
    }
    check_protocols(tests)
    results = {
        method: [_of_predictor(metrics, predictor) for metrics in own.values()]
        for method, own in tests.items()
    }
    unknown = set(gap or ()) - set(results)
    if unknown:
        raise ValueError(f'--gap names {sorted(unknown)}, but the runs are {list(results)}')
    means = {m: statistics.mean(own['mIoU'] for own in owns) for m, owns in results.items()}
    classes = _classes(next(iter(results.values()))[0])
    keys = [CLASS_PREFIX + name for name in classes]
    protocols = {method: _protocol_names(own.values()) for method, own in tests.items()}
    several = len(set(protocols.values()) - {UNKNOWN}) > 1
    lines: list[list[str]] = []
    for method, owns in results.items():
        if _classes(owns[0]) != classes:
            raise ValueError(f'{method} has the classes {_classes(owns[0])}, others {classes}')
        closed = [_closed(means[method], *(means[name] for name in gap))] if gap else []
        cells = [mean_std([own[key] for own in owns]) for key in ('mIoU', *keys)]
        texts = [method, protocols[method]] if several else [method]
        lines.append([*texts, str(len(owns)), cells[0], *closed, *cells[1:]])
    texts = ['method', 'protocol'] if several else ['method']
    header = [*texts, 'seeds', 'mIoU', *(['gap closed'] if gap else []), *classes]
    rule = ['---' if title in texts else '---:' for title in header]
    table = '\n'.join(f'| {" | ".join(row)} |' for row in (header, rule, *lines))
    return table + _note(tests)


def check_protocols(tests: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Runs of one table were trained on lists of one family and scored on the same images.

    Runs that do not say, as those of older versions, are not held against others.

    Args:
        tests: Metrics of each method by work dir.

    Raises:
        ValueError: Names two runs, both protocols and the remedy.
    """
    named = [
        (f'{method} ({folder})', metrics)
        for method, own in tests.items()
        for folder, metrics in own.items()
    ]
    rules = (('protocol', 'trained', same_family), ('scored_on', 'scored', same_scores))
    for key, what, agree in rules:
        known = [(run, Protocol(**metrics[key])) for run, metrics in named if key in metrics]
        for (one, first), (other, second) in combinations(known, 2):
            if not agree(first, second):
                raise ValueError(
                    f'{one} was {what} on {first.name!r}, {other} on {second.name!r}: their scores '
                    'do not compare. Make a table of each, or run both on the same lists'
                )


def _protocol_names(metrics: Iterable[Mapping[str, Any]]) -> str:
    """What the runs of one row were trained on."""
    names = {own['protocol']['name'] if 'protocol' in own else UNKNOWN for own in metrics}
    return ', '.join(sorted(names))


def _note(tests: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A line on the methods with runs that do not tell their protocol."""
    silent = [
        method
        for method, own in tests.items()
        if any('protocol' not in metrics for metrics in own.values())
    ]
    return f'\n\nprotocol {UNKNOWN}: {", ".join(silent)}' if silent else ''


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
