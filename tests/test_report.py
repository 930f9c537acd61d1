"""Tables from the metrics that test runs leave behind."""

import json

import pytest

from mmseg_u2pl.report import gain_table, markdown_table, mean_std, read_test_metrics


def run(root, name, **metrics):
    """A work dir as mmengine's test loop leaves it: one older and one newer result."""
    for time, scale in (('20260101_000000', 0.0), ('20260102_000000', 1.0)):
        folder = root / name / time
        folder.mkdir(parents=True)
        values = {
            key.replace('__', '/').replace('_c_', '.'): v * scale for key, v in metrics.items()
        }
        (folder / f'{time}.json').write_text(json.dumps(values) + '\n')
        (folder / 'vis_data').mkdir()
    return root / name


def test_mean_and_sample_standard_deviation():
    assert mean_std([1.0, 2.0, 6.0]) == '3.0 ± 2.6'  # variance (4 + 1 + 9) / 2 = 7
    assert mean_std([5.0]) == '5.0'
    assert mean_std([5.0, float('nan')]) == 'nan'


def test_the_newest_metrics_count(tmp_path):
    assert read_test_metrics(run(tmp_path, 'a', mIoU=40.0)) == {'mIoU': 40.0}
    with pytest.raises(FileNotFoundError, match=r'run tools/test\.py'):
        read_test_metrics(tmp_path / 'nothing')


def test_markdown_table_of_seeds_and_predictors(tmp_path):
    sup = [run(tmp_path, f's{i}', mIoU=v, IoU_c_sky=90.0) for i, v in enumerate((40.0, 42.0))]
    semi = run(tmp_path, 'u', teacher__mIoU=45.0, teacher__IoU_c_sky=91.0, student__mIoU=44.0)
    lines = markdown_table({'labels': sup, 'U²PL': [semi]}, 'teacher').splitlines()
    assert lines == [
        '| method | seeds | mIoU | sky |',
        '| --- | ---: | ---: | ---: |',
        '| labels | 2 | 41.0 ± 1.4 | 90.0 ± 0.0 |',
        '| U²PL | 1 | 45.0 | 91.0 |',
    ]


def test_methods_on_other_classes_do_not_share_a_table(tmp_path):
    one, other = run(tmp_path, 'a', IoU_c_sky=1.0, mIoU=1.0), run(tmp_path, 'b', mIoU=1.0)
    with pytest.raises(ValueError, match=r"classes \[\], others \['sky'\]"):
        markdown_table({'a': [one], 'b': [other]})


def test_how_much_of_the_gap_to_all_labels_is_closed(tmp_path):
    scores = dict(few=(40.0, 42.0), semi=(43.0,), all=(49.0,))
    runs = {
        name: [run(tmp_path, f'{name}{i}', mIoU=v) for i, v in enumerate(values)]
        for name, values in scores.items()
    }
    lines = markdown_table(runs, gap=('few', 'all')).splitlines()
    assert lines[0] == '| method | seeds | mIoU | gap closed |'
    assert lines[2:] == [  # (43 − 41) of (49 − 41)
        '| few | 2 | 41.0 ± 1.4 | 0% |',
        '| semi | 1 | 43.0 | 25% |',
        '| all | 1 | 49.0 | 100% |',
    ]
    no_way_up = markdown_table(runs, gap=('all', 'few'))
    assert no_way_up.count('–') == 3
    with pytest.raises(ValueError, match=r"\['none'\], but the runs are \['few', 'semi', 'all'\]"):
        markdown_table(runs, gap=('few', 'none'))


def test_gain_table_shows_the_difference():
    before, after = {'mIoU': 50.0, 'IoU.sky': 80.0}, {'mIoU': 54.24, 'IoU.sky': 78.5}
    table = gain_table(before, after, ('labels', 'U²PL'))
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ['sky', 'mIoU']
    assert cells[1:3] == [['80.0', '50.0'], ['78.5', '54.2']]
    assert cells[3] == ['[red]-1.5[/]', '[green]+4.2[/]']
