"""Tables of Markdown files from lines of results; those of this repository are up to date."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmseg_u2pl.analysis.experiments import read_results
from mmseg_u2pl.analysis.result_tables import blocks, fill, plotted, write

ROOT = Path(__file__).parents[2]


def record(name, seed, miou, split='1_8', **more):
    """A run of teacher and student, the student 10 below; ``cat`` is 5 above the mean."""
    scores = {
        network: {'cat': value + 5.0, 'mIoU': value}
        for network, value in (('teacher', miou), ('student', miou - 10))
    }
    plus = {'teacher': {'cat': 0.0, 'mIoU': miou + 1}}
    return dict(
        dict(
            name=name, config='c.py', data='voc', split=split, seed=seed, overrides={},
            iterations=100, minutes=2.0, predictor='teacher', test=scores,
            val=[dict(iteration=50, scores={}), dict(iteration=100, scores=plus)],
            best=dict(key='teacher/mIoU', iteration=50, val=plus, test=None),
        ),
        **more,
    )  # fmt: skip


RUNS = [
    record('base', 0, 40.0),
    record('base', 1, 42.0),
    record('semi', 0, 46.0),
    record('semi', 0, 50.0, split='1_4'),
    dict(record('semi', 1, 0.0), error='it failed'),
]


def table(query, records=RUNS):
    """Lines of the table that a query makes."""
    text = f'before\n<!-- table\n{query}\n-->\nold\n<!-- end -->\nafter\n'
    filled = fill(text, records)
    assert filled.startswith(f'before\n<!-- table\n{query}\n-->\n\n')
    assert filled.endswith('\n\n<!-- end -->\nafter\n')
    assert fill(filled, records) == filled
    return filled.split('-->\n\n')[1].split('\n\n<!--')[0].splitlines()


def test_mean_and_deviation_over_seeds_difference_and_what_is_missing():
    assert table("""
where: {data: voc}
rows:
  baseline: {name: base}
  semi, student: {name: semi, predictor: student}
columns:
  1/8: {split: '1_8'}
  1/4: {split: '1_4'}
baseline: baseline""") == [
        '|  | 1/8 | 1/4 |',
        '| --- | ---: | ---: |',
        '| baseline | 41.0 ± 1.4 | not yet run |',
        '| semi, student | 36.0 (−4.0) [1] | 40.0 [1] |',
        '',
        'Mean ± sample standard deviation of 2 seeds; [n]: of n seeds, whose difference is from the same '
        'seeds of the baseline.',
    ]


def test_classes_as_columns():
    query = "where: {split: '1_8'}\nrows: {semi: {name: semi}}\ncolumns: classes"
    lines = ['|  | mIoU | cat |', '| --- | ---: | ---: |', '| semi | 46.0 | 51.0 |']
    assert table(query) == lines
    either = query.replace('name: semi', 'name: [other, semi]')
    assert table(either) == lines
    bar = [record('semi', 0, 46.0, test={'teacher': {'a|b': 51.0, 'mIoU': 46.0}})]
    assert table(query, bar)[0] == r'|  | mIoU | a\|b |'
    assert table(query, []) == ['|  | mIoU |', '| --- | ---: |', '| semi | not yet run |']


def test_other_numbers():
    lines = table("""
where: {name: semi, split: '1_4'}
rows: {a: {}}
columns:
  val: {scores: val}
  best: {scores: best val}
  minutes: {measure: minutes}""")
    assert lines[-1] == '| a | 51.0 | 51.0 | 2.0 |'


@pytest.mark.parametrize(
    ('row', 'says'),
    [
        ('{nme: semi}', 'asks for nme'),
        ('{name: base, predictor: mean}', "base, seed 0: no .*'mean'"),
        ('{name: base, scores: best test}', 'base, seed 0: no'),
        ('{name: base, measure: dog}', "no .*'dog'"),
        ('{data: voc}', 'several runs of one seed'),
    ],
)
def test_mistakes_in_a_query(row, says):
    with pytest.raises(ValueError, match=says):
        table(f'rows: {{a: {row}}}\ncolumns: {{b: {{}}}}')


def stale(path, records):
    """What a Markdown file shows that the results do not say: 'tables', names of plots."""
    text = path.read_text(encoding='utf-8')
    found = [] if fill(text, records) == text else ['tables']
    for query, values, _ in blocks(text, records):
        if 'plot' in query:
            file = path.parent / query['plot']['file']
            if not file.is_file() or Image.open(file).info.get('Description') != plotted(values):
                found.append(query['plot']['file'])
    return found


def test_a_changed_result_is_noticed_and_the_tool_writes_it(tmp_path, run_tool):
    path, results = tmp_path / 'doc.md', tmp_path / 'runs.jsonl'
    query = """
plot: {file: images/sweep.png, x: labeled images}
where: {name: semi}
rows: {semi: {}}
columns: {100: {split: '1_8'}, 200: {split: '1_4'}, 400: {split: '1_2'}}"""
    path.write_text(f'<!-- table{query}\n-->\n<!-- end -->\n')
    assert stale(path, RUNS) == ['tables', 'images/sweep.png']
    results.write_text(''.join(f'{json.dumps(run)}\n' for run in RUNS))
    run_tool('report.py', '--results', results, '--write', path)
    assert stale(path, RUNS) == []
    assert '![mIoU on test over labeled images](images/sweep.png)' in path.read_text()
    assert '| semi | 46.0 | 50.0 | not yet run |' in path.read_text()
    more = [*RUNS, record('semi', 0, 60.0, split='1_2')]
    assert stale(path, more) == ['tables', 'images/sweep.png']
    write(path, more)
    assert stale(path, more) == []


@pytest.mark.parametrize('name', ['README.md', 'docs/results.md'])
def test_the_documents_show_the_committed_results(name):
    """``tools/report.py --write README.md docs/results.md`` makes them again."""
    assert stale(ROOT / name, read_results(ROOT / 'results/runs.jsonl')) == []


def test_text_after_a_table_without_end_stays():
    query = '<!-- table\nrows: {a: {name: base}}\ncolumns: classes\n-->\n'
    for text in (f'{query}words', f'{query}words\n{query}<!-- end -->'):
        with pytest.raises(ValueError, match=r'1 of \d tables have no line "<!-- end -->"'):
            fill(text, RUNS)


@pytest.mark.parametrize('key', ['rows', 'columns'])
def test_what_a_table_lacks_is_named(key):
    query = {'rows': 'rows: {a: {name: base}}', 'columns': 'columns: classes'}
    del query[key]
    with pytest.raises(ValueError, match=f'a table has no {key}'):
        table('\n'.join(query.values()))
