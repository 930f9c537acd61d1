"""Tables and plots of a Markdown file, made from the lines of a results file.

A table stands between two comments, the first of which says what it shows, in YAML::

    <!-- table
    where: {data: voc_animals, split: voc_1_8}
    rows:
      supervised baseline: {name: supervised}
      FixMatch, student: {name: fixmatch, predictor: student}
    columns: classes
    baseline: supervised baseline
    -->
    ...
    <!-- end -->

``where``, a row and a column are questions that a cell puts together. ``name``, ``config``, ``data``,
``split``, ``seed`` and ``iterations`` choose runs, by a value or a list of values. ``predictor`` (default:
that of the method), ``scores`` (``test``, the default, ``val``, ``best test``, ``best val``) and ``measure``
(``mIoU``, the default, a class, ``minutes`` or ``iterations``) choose a number of each. ``columns: classes`` are mIoU
and every class. ``baseline`` names the row to which differences are given, over the seeds of both. ``plot: {file, x}`` draws
the rows as lines over the titles of the columns, which are numbers then.
"""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .report import markdown_rows, mean_std, signed

CHOOSE = {'name', 'config', 'data', 'split', 'seed', 'iterations'}
BEGIN = '<!-- table\n'
BLOCK = re.compile(rf'({BEGIN}(.*?)-->\n)(?:(?!{BEGIN}).)*?(<!-- end -->)', re.DOTALL)
MISSING = 'not yet run'

Record = Mapping[str, Any]
Values = dict[tuple[str, str], dict[int, float]]
"""Of each row and column, by seed."""


def number(record: Record, question: Mapping[str, Any]) -> float:
    """What a question asks of one run.

    Raises:
        ValueError: The run has no such scores, predictor or class.
    """
    measure = question.get('measure', 'mIoU')
    if measure in ('minutes', 'iterations'):
        return record[measure]
    best = record['best'] or {}
    kinds = {
        'test': record['test'],
        'val': record['val'] and record['val'][-1]['scores'],
        'best test': best.get('test'),
        'best val': best.get('val'),
    }
    predictor = question.get('predictor', record['predictor'])
    try:
        return kinds[question.get('scores', 'test')][predictor][measure]
    except (KeyError, TypeError) as error:
        raise ValueError(f'{record["name"]}, seed {record["seed"]}: no {question}') from error


def _is_of(value: Any, asked: Any) -> bool:
    return value in asked if isinstance(asked, list) else value == asked


def values_of(query: Mapping[str, Any], records: Sequence[Record]) -> tuple[Values, list[str]]:
    """The numbers of a table, and the titles of its columns.

    Raises:
        ValueError: Rows or columns are missing; a question has an unknown key, or as :func:`number`.
    """
    if missing := {'rows', 'columns'} - set(query):
        raise ValueError(f'a table has no {" and no ".join(sorted(missing))}: {dict(query)}')
    where, columns = query.get('where', {}), query['columns']

    def runs(question: Mapping[str, Any]) -> list[Record]:
        if wrong := set(question) - CHOOSE - {'predictor', 'scores', 'measure'}:
            raise ValueError(f'a table asks for {", ".join(sorted(wrong))}')
        chosen = {key: question[key] for key in CHOOSE & set(question)}
        found = [r for r in records if all(_is_of(r[key], v) for key, v in chosen.items())]
        if len({r['seed'] for r in found}) < len(found):
            raise ValueError(f'several runs of one seed are {chosen}: ask for one of them')
        return found

    if columns == 'classes':
        of_rows = (run for row in query['rows'].values() for run in runs({**where, **row}))
        first: dict[str, float] = next((run['test'][run['predictor']] for run in of_rows), {})
        names = ['mIoU', *(name for name in first if name != 'mIoU')]
        columns = {name: {'measure': name} for name in names}
    values = {}
    for row, asked in query['rows'].items():
        for column, also in columns.items():
            question = {**where, **asked, **also}
            found = {run['seed']: number(run, question) for run in runs(question)}
            values[row, str(column)] = found
    return values, list(map(str, columns))


def markdown(query: Mapping[str, Any], values: Values, columns: Sequence[str]) -> str:
    """The table of some values: mean ± sample standard deviation over seeds.

    A difference is the mean over the seeds that both rows have.
    """
    most = max(map(len, values.values()), default=0)
    lines = [['', *columns], ['---', *['---:'] * len(columns)]]
    for row in query['rows']:
        line = [row]
        for column in columns:
            found, text = values[row, column], MISSING
            base = values.get((query.get('baseline', row), column), {})
            if found:
                text = mean_std(list(found.values())).replace('nan', '–')
                common = found.keys() & base.keys()
                if common and query.get('baseline', row) != row:
                    difference = statistics.mean(found[seed] - base[seed] for seed in common)
                    text += f' ({signed(difference)})' if not math.isnan(difference) else ''
                if len(found) < most:
                    text += f' [{len(found)}]'
            line.append(text)
        lines.append(line)
    table = markdown_rows(lines)
    if most > 1:
        fewer = any(0 < len(found) < most for found in values.values())
        note = '; [n]: of n seeds' if fewer else ''
        if fewer and 'baseline' in query:
            note += ', whose difference is from the same seeds of the baseline'
        table += f'\n\nMean ± sample standard deviation of {most} seeds{note}.'
    if plot := query.get('plot'):
        table = f'![mIoU on test over {plot["x"]}]({plot["file"]})\n\n{table}'
    return table


def blocks(text: str, records: Sequence[Record]) -> list[tuple[dict, Values, list[str]]]:
    """Query, values and columns of each table of a Markdown text; failed runs have no numbers.

    Raises:
        ValueError: A table has no end; as :func:`values_of`.
    """
    if (whole := len(BLOCK.findall(text))) < (begun := text.count(BEGIN)):
        raise ValueError(
            f'{begun - whole} of {begun} tables have no line "<!-- end -->" before the next: add it'
        )
    done = [record for record in records if 'error' not in record]
    queries = [yaml.safe_load(match[2]) for match in BLOCK.finditer(text)]
    return [(query, *values_of(query, done)) for query in queries]


def fill(text: str, records: Sequence[Record]) -> str:
    """A Markdown text with the tables of these results."""
    tables = iter([markdown(*block) for block in blocks(text, records)])
    return BLOCK.sub(lambda match: f'{match[1]}\n{next(tables)}\n\n{match[3]}', text)


def write(path: str | Path, records: Sequence[Record]) -> None:
    """Make the tables and plots of a Markdown file."""
    path = Path(path)
    text = path.read_text(encoding='utf-8')
    for query, values, columns in blocks(text, records):
        if 'plot' in query:
            draw(path.parent / query['plot']['file'], query, values, columns)
    path.write_text(fill(text, records), encoding='utf-8')


def plotted(values: Values) -> str:
    """What a plot shows, as text; the picture keeps it, so that a stale one is found."""
    return repr(sorted((cell, sorted(found.items())) for cell, found in values.items()))


def draw(path: Path, query: Mapping[str, Any], values: Values, columns: Sequence[str]) -> None:
    """Draw the rows of a table as lines, with bars of one standard deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.add_subplot(xlabel=query['plot']['x'], ylabel='mIoU on test, %', xscale='log')
    for row in query['rows']:
        points = [(float(c), list(values[row, c].values())) for c in columns if values[row, c]]
        if points:
            places, numbers = zip(*points, strict=True)
            spread = [statistics.stdev(n) if len(n) > 1 else 0.0 for n in numbers]
            means = [statistics.mean(n) for n in numbers]
            axes.errorbar(places, means, spread, marker='o', capsize=3, label=row)
    axes.set_xticks(list(map(float, columns)), columns)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={'Description': plotted(values)})
