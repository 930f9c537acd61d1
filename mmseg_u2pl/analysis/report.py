"""Tables of test results."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from rich.table import Table

from ..datasets.provenance import Protocol
from .tables import new_table

CLASS_PREFIX = 'IoU.'
UNKNOWN = 'unknown'


class Run(NamedTuple):
    """What a test run measured."""

    folder: str
    metrics: dict[str, Any]  # percent; 'protocol' and 'scored_on', if known, are a Protocol's
    predictor: str  # whose metrics count; empty: the run has one network
    scores: dict[str, float]  # 'mIoU' and each class of that predictor, percent

    @property
    def protocol(self) -> str:
        """Name of the lists that it was trained on."""
        return self.metrics.get('protocol', {}).get('name', UNKNOWN)


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
    table = new_table('IoU on the test images, %', 'class', *names, 'difference')
    later = _scores(after)
    for name, score in _scores(before).items():
        gain = later[name] - score
        color = 'green' if gain > 0 else 'red'
        cells = f'{score:.1f}', f'{later[name]:.1f}', f'[{color}]{gain:+.1f}[/]'
        table.add_row(name, *cells, style='bold' if name == 'mIoU' else '')
    return table


def read_test_metrics(work_dir: str | Path) -> dict[str, Any]:
    """The newest metrics that a test run wrote below a work dir, in percent.

    ``protocol`` and ``scored_on``, if known, are the fields of a ``Protocol``.

    Raises:
        FileNotFoundError: No test has run there.
    """
    return json.loads(_newest(work_dir).read_text().splitlines()[-1])


def read_run(work_dir: str | Path, predictors: Sequence[str] = ()) -> Run:
    """The newest test run below a work dir, by the predictor that counts.

    Args:
        work_dir: Of ``tools/test.py``.
        predictors: The first that the run has counts. Empty: the run's ``model.predictor``, or
            the first network that it scored, which is the method's default. A run of one network,
            such as the supervised baseline's, has no names to choose from.

    Raises:
        FileNotFoundError: No test has run there.
        ValueError: It measured no mIoU, or none of ``predictors``.
    """
    folder, metrics = str(work_dir), read_test_metrics(work_dir)
    if 'mIoU' in metrics:
        return Run(folder, metrics, '', _scores(metrics))
    names = [key.removesuffix('/mIoU') for key in metrics if key.endswith('/mIoU')]
    if not names:
        raise ValueError(
            f'the test run below {folder!r} measured no mIoU: its config needs '
            "test_evaluator=dict(type='ClassIoUMetric')"
        )
    config = _newest(work_dir).parent / 'vis_data/config.py'
    if config.is_file() and not predictors:
        model = Config.fromfile(config, import_custom_modules=False).model
        predictors = [model.get('predictor'), *names]
    wanted = predictors or names
    chosen = next((name for name in wanted if name in names), None)
    if chosen is None:
        raise ValueError(
            f'{folder!r} has the predictors {", ".join(names)}, and none of '
            f'--predictor {" ".join(predictors)}'
        )
    return Run(folder, metrics, chosen, _scores(metrics, f'{chosen}/'))


def _newest(work_dir: str | Path) -> Path:
    """The metrics file of the newest test run."""
    # mmengine writes <work_dir>/<time>/<time>.json; training logs have other names
    files = sorted(p for p in Path(work_dir).glob('*/*.json') if p.stem == p.parent.name)
    if not files:
        raise FileNotFoundError(
            f'no test metrics below {str(work_dir)!r}: run tools/test.py with --work-dir there'
        )
    return files[-1]


def _scores(metrics: Mapping[str, Any], prefix: str = '') -> dict[str, float]:
    """IoU by the name of the class, then ``'mIoU'``, of the metrics with a prefix."""
    start = prefix + CLASS_PREFIX
    scores = {key.removeprefix(start): metrics[key] for key in metrics if key.startswith(start)}
    return {**scores, 'mIoU': metrics[f'{prefix}mIoU']}


def mean_std(values: Sequence[float]) -> str:
    """``mean ± sample standard deviation``; the mean alone for a single run."""
    if any(math.isnan(value) for value in values):
        return 'nan'
    mean = f'{statistics.mean(values):.1f}'
    return mean if len(values) == 1 else f'{mean} ± {statistics.stdev(values):.1f}'


def markdown_table(
    runs: Mapping[str, Iterable[str | Path]],
    predictors: Sequence[str] = (),
    gap: tuple[str, str] | None = None,
) -> str:
    """A Markdown table, one row a method, from the test metrics of its runs.

    Runs on lists of several families, or scored on several sets of images, get no common table.
    The lists of a family may differ, as 1/16 and 1/8 do, or a few labels and all: a column tells.

    Args:
        runs: Work dirs of the seeds of each method.
        predictors: As in :func:`read_run`.
        gap: Names of the methods on few and on all labels. Adds how much of the way from the first
            to the second, in mean mIoU, each method goes.

    Returns:
        Columns: method, its protocol where they differ, seeds, mIoU and each class, mean ± std in
        percent. Lines below name the predictors, and the methods whose protocol is not known.

    Raises:
        FileNotFoundError: A run has no test metrics.
        ValueError: The runs have different classes or protocols, or as :func:`read_run`, or ``gap``
            names a method that is not in the table.
    """
    tests = {m: [read_run(folder, predictors) for folder in seeds] for m, seeds in runs.items()}
    check_protocols(tests)
    classes = list(next(iter(tests.values()))[0].scores)[:-1]  # the last is the mean
    for method, run in _all_runs(tests):
        found = list(run.scores)[:-1]
        if found != classes:
            raise ValueError(f'{method} ({run.folder}) has the classes {found}, others {classes}')
    columns = {
        'method': {m: m for m in tests},
        'protocol': {m: ', '.join(sorted({r.protocol for r in tests[m]})) for m in tests},
        'seeds': {m: str(len(tests[m])) for m in tests},
        'mIoU': {m: mean_std([run.scores['mIoU'] for run in tests[m]]) for m in tests},
    }
    if len(set(columns['protocol'].values()) - {UNKNOWN}) < 2:
        del columns['protocol']
    if gap:
        columns['gap closed'] = _gap_closed(tests, *gap)
    for name in classes:
        columns[name] = {m: mean_std([run.scores[name] for run in tests[m]]) for m in tests}
    rules = ['---' if title in ('method', 'protocol') else '---:' for title in columns]
    rows = [[cells[m] for cells in columns.values()] for m in tests]
    table = '\n'.join(f'| {" | ".join(row)} |' for row in (list(columns), rules, *rows))

    used = dict.fromkeys(f'{m} {run.predictor}' for m, run in _all_runs(tests) if run.predictor)
    silent = dict.fromkeys(m for m, run in _all_runs(tests) if run.protocol == UNKNOWN)
    notes = (('predictor', used), (f'protocol {UNKNOWN}', silent))
    lines = [f'{title}: {", ".join(texts)}' for title, texts in notes if texts]
    return '\n\n'.join([table, *lines])


def check_protocols(tests: Mapping[str, Sequence[Run]]) -> None:
    """Runs of one table were trained on lists of one family and scored on the same images.

    Runs that do not say, as those of older versions, pass.

    Raises:
        ValueError: Names two runs, both protocols and the remedy.
    """
    rules = (('protocol', 'trained', same_family), ('scored_on', 'scored', same_scores))
    for key, what, agree in rules:
        known = [
            (f'{method} ({run.folder})', Protocol(**run.metrics[key]))
            for method, run in _all_runs(tests)
            if key in run.metrics
        ]
        for (one, first), (other, second) in combinations(known, 2):
            if not agree(first, second):
                raise ValueError(
                    f'{one} was {what} on {first.name!r}, {other} on {second.name!r}: their scores '
                    'do not compare. Make a table of each, or run both on the same lists'
                )


def same_family(one: Protocol, other: Protocol) -> bool:
    """Whether results of training on two lists may stand side by side.

    They may not if they are of different families, or of one name but with other images.
    Unknown families are not held against them.
    """
    if one.list_name == other.list_name and one.digest != other.digest:
        return False
    return one.family == other.family or not (one.family and other.family)


def same_scores(one: Protocol, other: Protocol) -> bool:
    """Whether scores on two lists may: those of the same images, or of folds of one draw."""
    folds = one.family != '' and one.family == other.family
    return one.digest == other.digest or (folds and same_family(one, other))


def _all_runs(tests: Mapping[str, Sequence[Run]]) -> list[tuple[str, Run]]:
    return [(method, run) for method, seeds in tests.items() for run in seeds]


def _gap_closed(tests: Mapping[str, Sequence[Run]], few: str, full: str) -> dict[str, str]:
    """How far each method goes from ``few`` to ``full``; a dash where that is not above."""
    unknown = {few, full} - set(tests)
    if unknown:
        raise ValueError(f'--gap names {sorted(unknown)}, but the runs are {list(tests)}')
    means = {m: statistics.mean(run.scores['mIoU'] for run in seeds) for m, seeds in tests.items()}
    gap = means[full] - means[few]
    return {m: f'{(mean - means[few]) / gap:.0%}' if gap > 0 else '–' for m, mean in means.items()}
