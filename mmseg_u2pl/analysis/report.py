"""Tables of test results."""

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
    scores: dict[str, float]  # each class and 'mIoU' of that predictor, percent
    protocol: str  # name of the lists that it was trained on


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
    later = scores_of(after)
    for name, score in scores_of(before).items():
        cells = f'{score:.1f}', f'{later[name]:.1f}', f'{later[name] - score:+.1f}'
        table.add_row(name, *cells, style='bold' if name == 'mIoU' else '')
    return table


def read_test_metrics(work_dir: str | Path) -> dict[str, Any]:
    """The newest metrics that a test run wrote below a work dir, in percent.

    ``protocol`` and ``scored_on``, if known, are the fields of a ``Protocol``.

    Raises:
        FileNotFoundError: No test has run there.
        ValueError: Its file was cut off, or as :func:`newest_metrics`.
    """
    return json.loads((newest_metrics(work_dir).read_text().splitlines() or [''])[-1])


def read_run(work_dir: str | Path, predictors: Sequence[str] = ()) -> Run:
    """The newest test run below a work dir, by the predictor that counts.

    Args:
        work_dir: Of ``tools/test.py``.
        predictors: The first that the run has counts. Empty: the run's ``model.predictor``, or
            the first network that it scored, which is the method's default. A run of one network,
            such as the supervised baseline's, has no names to choose from.

    Raises:
        FileNotFoundError: No test has run there.
        ValueError: It measured no mIoU, or none of ``predictors``; as :func:`newest_metrics`.
    """
    folder, metrics = str(work_dir), read_test_metrics(work_dir)
    names = predictors_of(metrics)
    if not names:
        raise ValueError(
            f'the test run below {folder!r} measured no mIoU: its config needs '
            "test_evaluator=dict(type='ClassIoUMetric')"
        )
    config = newest_metrics(work_dir).parent / 'vis_data/config.py'
    model = Config.fromfile(config, import_custom_modules=False).model if config.is_file() else {}
    found = [name for name in predictors or [model.get('predictor', '')] if name in names]
    if predictors and not found and names != ['']:
        raise ValueError(
            f'{folder!r} has the predictors {", ".join(names)}, and none of '
            f'--predictor {" ".join(predictors)}'
        )
    chosen = (found or names)[0]
    scores = scores_of(metrics, chosen)
    return Run(folder, metrics, chosen, scores, metrics.get('protocol', {}).get('name', UNKNOWN))


def newest_metrics(work_dir: str | Path) -> Path:
    """The metrics file of the newest test run in ``test``, as in a training's work dir, or there.

    Raises:
        FileNotFoundError: No test has run there.
        ValueError: A training has started since, in this folder or in the one around it.
    """
    trained = None
    for folder in (Path(work_dir, 'test'), Path(work_dir)):
        # mmengine writes <work_dir>/<time>/<time>.json; training logs have other names
        if files := [p for p in folder.glob('*/*.json') if p.stem == p.parent.name]:
            newest = max(files)
            starts = {
                start: each for each in newest.parents[1:3] for start in training_starts(each)
            }
            if newest.stem >= max(starts, default=''):
                return newest
            trained = str(starts[max(starts)])
    if trained:
        raise ValueError(f'{trained!r} was trained since its test: test again')
    raise FileNotFoundError(
        f'no test metrics below {str(work_dir)!r}: run tools/test.py with --work-dir there'
    )


def training_starts(work_dir: str | Path) -> list[str]:
    """Times of the starts of a training that logged anything, YYYYmmdd_HHMMSS, in order."""
    times = sorted(path.parents[1].name for path in Path(work_dir).glob('*/vis_data/scalars.json'))
    return [time for time in times if not Path(work_dir, time, f'{time}.json').exists()]  # no test


def predictors_of(metrics: Mapping[str, Any]) -> list[str]:
    """The networks that metrics are of; ``''`` for a run of one network."""
    keys = [key.rpartition('/') for key in metrics]
    return [prefix for prefix, _, measure in keys if measure == 'mIoU']


def scores_of(metrics: Mapping[str, Any], predictor: str = '') -> dict[str, float]:
    """IoU by the name of the class, then ``'mIoU'``, of one of :func:`predictors_of`."""
    prefix = f'{predictor}/' if predictor else ''
    start = prefix + CLASS_PREFIX
    scores = {key.removeprefix(start): metrics[key] for key in metrics if key.startswith(start)}
    return {**scores, 'mIoU': metrics[f'{prefix}mIoU']}


def mean_std(values: Sequence[float]) -> str:
    """``mean ± sample standard deviation``; the mean alone for a single run."""
    if any(math.isnan(value) for value in values):
        return 'nan'
    mean = f'{statistics.mean(values):.1f}'
    return mean if len(values) == 1 else f'{mean} ± {statistics.stdev(values):.1f}'


def signed(value: float) -> str:
    """A difference with its sign; a dash for NaN."""
    return '–' if math.isnan(value) else f'{value:+.1f}'.replace('-', '−')


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
    all_runs = [(method, run) for method, seeds in tests.items() for run in seeds]
    _check_comparable([(f'{method} ({run.folder})', run) for method, run in all_runs])
    means = {m: statistics.mean(run.scores['mIoU'] for run in seeds) for m, seeds in tests.items()}
    unknown = set(gap or ()) - set(tests)
    if unknown:
        raise ValueError(f'--gap names {sorted(unknown)}, but the runs are {list(tests)}')
    several = len({run.protocol for _, run in all_runs} - {UNKNOWN}) > 1
    rows = []
    for method, seeds in tests.items():
        row = {'method': method}
        if several:
            row['protocol'] = ', '.join(sorted({run.protocol for run in seeds}))
        row['seeds'] = str(len(seeds))
        row['mIoU'] = mean_std([run.scores['mIoU'] for run in seeds])
        if gap:
            few, full = (means[name] for name in gap)
            row['gap closed'] = f'{(means[method] - few) / (full - few):.0%}' if full > few else '–'
        for name in seeds[0].scores:
            row[name] = mean_std([run.scores[name] for run in seeds])
        rows.append(row)
    rules = ['---' if title in ('method', 'protocol') else '---:' for title in rows[0]]
    table = markdown_rows([list(rows[0]), rules, *(list(row.values()) for row in rows)])

    used = [f'{method} {run.predictor}' for method, run in all_runs if run.predictor]
    silent = [method for method, run in all_runs if run.protocol == UNKNOWN]
    for title, texts in (('predictor', used), (f'protocol {UNKNOWN}', silent)):
        if texts:
            table += f'\n\n{title}: {", ".join(dict.fromkeys(texts))}'
    return table


def markdown_rows(lines: Iterable[Sequence[str]]) -> str:
    """Rows of cells as those of a Markdown table."""
    escaped = ([cell.replace('|', r'\|') for cell in cells] for cells in lines)
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in escaped)


def _check_comparable(runs: Sequence[tuple[str, Run]]) -> None:
    """Named runs have the same classes, lists of one family, and scores on the same images.

    Runs that do not tell their protocol, as those of older versions, pass.
    """
    rules = (('protocol', 'trained', same_family), ('scored_on', 'scored', same_scores))
    for (one, first), (other, second) in combinations(runs, 2):
        classes, others = (list(run.scores)[:-1] for run in (first, second))
        if classes != others:
            raise ValueError(f'{one} has the classes {classes}, {other} has {others}')
        for key, what, agree in rules:
            known = [Protocol(**run.metrics[key]) for run in (first, second) if key in run.metrics]
            if len(known) == 2 and not agree(*known):
                raise ValueError(
                    f'{one} was {what} on {known[0].name!r}, {other} on {known[1].name!r}: their '
                    'scores do not compare. Make a table of each, or run both on the same lists'
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
