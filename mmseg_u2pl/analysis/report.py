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

CLASS_PREFIX = 'IoU.'
UNKNOWN = 'unknown'


class Run(NamedTuple):
    """What a test run measured."""

    folder: str
    metrics: dict[str, Any]  # percent; 'protocol' and 'scored_on', if known, are a Protocol's
    predictor: str  # whose metrics count; empty: the run has one network
    scores: dict[str, float]  # mIoU and IoU.<class> of that predictor

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
    table = Table(title='IoU on the test images, %', title_style='bold')
    table.add_column('class')
    for name in (*names, 'difference'):
        table.add_column(name, justify='right')
    for key in (*_class_keys(before), 'mIoU'):
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
    metrics = read_test_metrics(work_dir)
    names = [key.removesuffix('/mIoU') for key in metrics if key.endswith('/mIoU')]
    if not names:
        if 'mIoU' not in metrics:
            raise ValueError(
                f'the test run below {str(work_dir)!r} measured no mIoU: its config needs '
                "test_evaluator=dict(type='ClassIoUMetric')"
            )
        return Run(str(work_dir), metrics, '', metrics)
    wanted = predictors or (_configured_predictor(work_dir), names[0])
    chosen = next((name for name in wanted if name in names), None)
    if chosen is None:
        raise ValueError(
            f'{str(work_dir)!r} has the predictors {", ".join(names)}, and none of '
            f'--predictor {" ".join(predictors)}'
        )
    prefix = f'{chosen}/'
    scores = {k.removeprefix(prefix): v for k, v in metrics.items() if k.startswith(prefix)}
    return Run(str(work_dir), metrics, chosen, scores)


def _newest(work_dir: str | Path) -> Path:
    """The metrics file of the newest test run."""
    # mmengine writes <work_dir>/<time>/<time>.json; training logs have other names
    files = sorted(p for p in Path(work_dir).glob('*/*.json') if p.stem == p.parent.name)
    if not files:
        raise FileNotFoundError(
            f'no test metrics below {str(work_dir)!r}: run tools/test.py with --work-dir there'
        )
    return files[-1]


def _configured_predictor(work_dir: str | Path) -> str | None:
    """``model.predictor`` of the newest test run, if its config sets one."""
    config = _newest(work_dir).parent / 'vis_data' / 'config.py'
    if not config.is_file():
        return None
    return Config.fromfile(config, import_custom_modules=False).model.get('predictor')


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
    unknown = set(gap or ()) - set(tests)
    if unknown:
        raise ValueError(f'--gap names {sorted(unknown)}, but the runs are {list(tests)}')
    means = {m: statistics.mean(run.scores['mIoU'] for run in seeds) for m, seeds in tests.items()}
    keys = _class_keys(next(iter(tests.values()))[0].scores)
    protocols = {
        m: ', '.join(sorted({run.protocol for run in seeds})) for m, seeds in tests.items()
    }
    several = len(set(protocols.values()) - {UNKNOWN}) > 1
    lines: list[list[str]] = []
    for method, seeds in tests.items():
        for run in seeds:
            if _class_keys(run.scores) != keys:
                names = [_names(_class_keys(run.scores)), _names(keys)]
                raise ValueError(
                    f'{method} ({run.folder}) has the classes {names[0]}, others {names[1]}'
                )
        closed = [_closed(means[method], *(means[name] for name in gap))] if gap else []
        cells = [mean_std([run.scores[key] for run in seeds]) for key in ('mIoU', *keys)]
        texts = [method, protocols[method]] if several else [method]
        lines.append([*texts, str(len(seeds)), cells[0], *closed, *cells[1:]])
    texts = ['method', 'protocol'] if several else ['method']
    header = [*texts, 'seeds', 'mIoU', *(['gap closed'] if gap else []), *_names(keys)]
    rule = ['---' if title in texts else '---:' for title in header]
    table = '\n'.join(f'| {" | ".join(row)} |' for row in (header, rule, *lines))
    return '\n\n'.join([table, *_notes(tests)])


def check_protocols(tests: Mapping[str, Sequence[Run]]) -> None:
    """Runs of one table were trained on lists of one family and scored on the same images.

    Runs that do not say, as those of older versions, pass.

    Raises:
        ValueError: Names two runs, both protocols and the remedy.
    """
    named = [(f'{m} ({run.folder})', run.metrics) for m, seeds in tests.items() for run in seeds]
    rules = (('protocol', 'trained', same_family), ('scored_on', 'scored', same_scores))
    for key, what, agree in rules:
        known = [(run, Protocol(**metrics[key])) for run, metrics in named if key in metrics]
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


def _notes(tests: Mapping[str, Sequence[Run]]) -> list[str]:
    """Lines below a table."""
    used = {m: dict.fromkeys(run.predictor for run in seeds) for m, seeds in tests.items()}
    predictors = [
        f'{m} {" and ".join(filter(None, names))}' for m, names in used.items() if any(names)
    ]
    silent = [m for m, seeds in tests.items() if any(run.protocol == UNKNOWN for run in seeds)]
    notes = (('predictor', predictors), (f'protocol {UNKNOWN}', silent))
    return [f'{title}: {", ".join(texts)}' for title, texts in notes if texts]


def _class_keys(metrics: Mapping[str, Any]) -> list[str]:
    return [key for key in metrics if key.startswith(CLASS_PREFIX)]


def _names(keys: Iterable[str]) -> list[str]:
    return [key.removeprefix(CLASS_PREFIX) for key in keys]


def _closed(value: float, floor: float, ceiling: float) -> str:
    """Share of the way from ``floor`` to ``ceiling``; a dash where that is not above."""
    return f'{(value - floor) / (ceiling - floor):.0%}' if ceiling > floor else '–'
