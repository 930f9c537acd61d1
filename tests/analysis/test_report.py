"""Tables from the metrics that test runs leave behind."""

import json
import re

import pytest
import tiny

from mmseg_u2pl.analysis.report import (
    gain_table,
    markdown_table,
    mean_std,
    read_run,
    read_test_metrics,
    same_family,
)
from mmseg_u2pl.datasets.provenance import Protocol

U2PL_16 = Protocol('u2pl 1_16', 'u2pl', '1_16', '11111111')
U2PL_8 = Protocol('u2pl 1_8', 'u2pl', '1_8', '22222222')
CPS_16 = Protocol('cps 1_16', 'cps', '1_16', '33333333')
OWN = Protocol('mine 44444444', '', 'mine', '44444444')
OWN_OTHER = Protocol('mine 55555555', '', 'mine', '55555555')
ALL = Protocol('all of train (9 images) 66666666', '', 'all of train', '66666666')
TEST = Protocol('all of test (4 images) 77777777', '', 'all of test', '77777777')
VAL = Protocol('all of val (2 images) 88888888', '', 'all of val', '88888888')
FOLDS = [Protocol(f'drawn, fold{i}', 'drawn', f'fold{i}_val', f'{i:08}') for i in range(2)]


def run(root, name, protocol=None, scored_on=None, **metrics):
    """A work dir as mmengine's test loop leaves it: one older and one newer result."""
    images = dict(protocol=protocol, scored_on=scored_on)
    for time, scale in (('20260101_000000', 0.0), ('20260102_000000', 1.0)):
        folder = root / name / time
        folder.mkdir(parents=True)
        values = {
            key.replace('__', '/').replace('_c_', '.'): v * scale for key, v in metrics.items()
        }
        values |= {key: record._asdict() for key, record in images.items() if record}
        (folder / f'{time}.json').write_text(json.dumps(values) + '\n')
        (folder / 'vis_data').mkdir()
    return root / name


def add_config(folder, stem):
    """The config of a run, under its own name and as the log has it."""
    for path in (folder / f'{stem}.py', folder / '20260102_000000/vis_data/config.py'):
        path.write_text("model = dict(type='A')\n")


def test_mean_and_sample_standard_deviation():
    assert mean_std([1.0, 2.0, 6.0]) == '3.0 ± 2.6'  # variance (4 + 1 + 9) / 2 = 7
    assert mean_std([5.0]) == '5.0'
    assert mean_std([5.0, float('nan')]) == 'nan'


def test_the_newest_metrics_count(tmp_path):
    assert read_test_metrics(run(tmp_path, 'a', mIoU=40.0)) == {'mIoU': 40.0}
    with pytest.raises(FileNotFoundError, match=r'run tools/test\.py'):
        read_test_metrics(tmp_path / 'nothing')


@pytest.mark.parametrize('place', ['work', 'work/test'])
def test_a_test_before_the_last_training_does_not_count(tmp_path, place):
    tests = run(tmp_path, place, mIoU=40.0)
    for time, test_counts in (('20260101_000000', True), ('20260103_000000', False)):
        log = tmp_path / 'work' / time / 'vis_data'
        log.mkdir(parents=True, exist_ok=True)
        (log / 'config.py').touch()
        (log / 'scalars.json').touch()
        for folder in {tests, tmp_path / 'work'}:
            if test_counts:
                assert read_test_metrics(folder) == {'mIoU': 40.0}
            else:
                with pytest.raises(ValueError, match=r'work. was trained since its test: test ag'):
                    read_test_metrics(folder)


@pytest.mark.parametrize('trained', [True, False])
def test_a_test_that_failed_is_no_training(tmp_path, trained):
    folder = run(tmp_path, 'a', mIoU=40.0)
    if trained:
        (folder / '20251231_000000/vis_data').mkdir(parents=True)
        (folder / '20251231_000000/vis_data/scalars.json').touch()
    (folder / '20260103_000000/vis_data').mkdir(parents=True)
    (folder / '20260103_000000/vis_data/config.py').touch()
    assert read_test_metrics(folder) == {'mIoU': 40.0}


def test_a_test_in_the_folder_for_tests_counts(tmp_path):
    folder = run(tmp_path, 'a', mIoU=40.0)
    run(folder, 'test', mIoU=50.0)
    assert read_test_metrics(folder) == {'mIoU': 50.0}


def test_a_bar_in_a_name_is_escaped(tmp_path):
    lines = markdown_table({'a|b': [run(tmp_path, 'a', mIoU=1.0, **{'IoU.x|y': 1.0})]}).splitlines()
    assert lines[0] == r'| method | seeds | mIoU | x\|y |'
    assert lines[2] == r'| a\|b | 1 | 1.0 | 1.0 |'


def test_markdown_table_of_seeds_and_predictors(tmp_path):
    sup = [run(tmp_path, f's{i}', mIoU=v, IoU_c_sky=90.0) for i, v in enumerate((40.0, 42.0))]
    semi = run(tmp_path, 'u', teacher__mIoU=45.0, teacher__IoU_c_sky=91.0, student__mIoU=44.0)
    lines = markdown_table({'labels': sup, 'U²PL': [semi]}).splitlines()
    assert lines == [
        '| method | seeds | mIoU | sky |',
        '| --- | ---: | ---: | ---: |',
        '| labels | 2 | 41.0 ± 1.4 | 90.0 ± 0.0 |',
        '| U²PL | 1 | 45.0 | 91.0 |',
        '',
        'predictor: U²PL teacher',
        '',
        'protocol unknown: labels, U²PL',
    ]


@pytest.fixture
def methods(tmp_path):
    """Work dirs of the baseline, of U²PL and of CPS, which predict by different networks."""
    return {
        'baseline': [run(tmp_path, 's', mIoU=40.0)],
        'U²PL': [run(tmp_path, 'u', teacher__mIoU=45.0, student__mIoU=44.0)],
        'CPS': [run(tmp_path, 'c', mean__mIoU=47.0, network1__mIoU=46.0, network2__mIoU=45.0)],
    }


def test_each_method_is_shown_by_its_predictor(methods):
    lines = markdown_table(methods).splitlines()
    assert lines[2:6] == [
        '| baseline | 1 | 40.0 |',
        '| U²PL | 1 | 45.0 |',
        '| CPS | 1 | 47.0 |',
        '',
    ]
    assert lines[6] == 'predictor: U²PL teacher, CPS mean'


def test_of_the_predictors_asked_for_a_run_shows_the_first_that_it_has(methods):
    lines = markdown_table(methods, ('student', 'network1')).splitlines()
    assert lines[2:5] == ['| baseline | 1 | 40.0 |', '| U²PL | 1 | 44.0 |', '| CPS | 1 | 46.0 |']
    with pytest.raises(ValueError, match='predictors mean, network1, network2, and none of'):
        markdown_table(methods, ('student',))


def test_the_predictor_of_the_config_counts(methods):
    folder = methods['CPS'][0]
    config = folder / '20260102_000000' / 'vis_data' / 'config.py'
    config.write_text("model = dict(type='CrossPseudo', predictor='network2')\n")
    assert read_run(folder).scores == {'mIoU': 45.0}
    config.write_text("model = dict(type='CrossPseudo')\n")
    assert read_run(folder).predictor == 'mean'


def test_a_run_without_scores_is_named(tmp_path):
    folder = run(tmp_path, 'a', aAcc=90.0)
    with pytest.raises(ValueError, match=f'{folder}.*measured no mIoU'):
        read_run(folder)


def test_methods_on_other_classes_do_not_share_a_table(tmp_path):
    one, other = run(tmp_path, 'a', IoU_c_sky=1.0, mIoU=1.0), run(tmp_path, 'b', mIoU=1.0)
    with pytest.raises(ValueError, match=r"classes \['sky'\], b .* has \[\]"):
        markdown_table({'a': [one], 'b': [other]})


def test_how_much_of_the_gap_to_all_labels_is_closed(tmp_path):
    scores = dict(few=(40.0, 42.0), semi=(43.0,), all=(49.0,))
    runs = {
        name: [run(tmp_path, f'{name}{i}', mIoU=v) for i, v in enumerate(values)]
        for name, values in scores.items()
    }
    lines = markdown_table(runs, gap=('few', 'all')).splitlines()
    assert lines[0] == '| method | seeds | mIoU | gap closed |'
    assert lines[2:5] == [  # (43 − 41) of (49 − 41)
        '| few | 2 | 41.0 ± 1.4 | 0% |',
        '| semi | 1 | 43.0 | 25% |',
        '| all | 1 | 49.0 | 100% |',
    ]
    no_way_up = markdown_table(runs, gap=('all', 'few'))
    assert no_way_up.count('–') == 3
    with pytest.raises(ValueError, match=r"\['none'\], but the runs are \['few', 'semi', 'all'\]"):
        markdown_table(runs, gap=('few', 'none'))


def table_of(root, *images):
    """A table of runs, each with its training protocol and what it was scored on."""
    runs = {
        f'm{i}': [run(root, f'm{i}', protocol, scored_on, mIoU=40.0 + i)]
        for i, (protocol, scored_on) in enumerate(images)
    }
    return markdown_table(runs)


def test_one_protocol_needs_no_words(tmp_path):
    assert table_of(tmp_path, (U2PL_16, TEST), (U2PL_16, TEST)).splitlines() == [
        '| method | seeds | mIoU |',
        '| --- | ---: | ---: |',
        '| m0 | 1 | 40.0 |',
        '| m1 | 1 | 41.0 |',
    ]


def test_lists_of_one_family_and_all_images_share_a_table_with_a_column(tmp_path):
    table = table_of(tmp_path, (U2PL_16, TEST), (U2PL_8, TEST), (ALL, TEST), (None, TEST))
    assert table.splitlines() == [
        '| method | protocol | seeds | mIoU |',
        '| --- | --- | ---: | ---: |',
        '| m0 | u2pl 1_16 | 1 | 40.0 |',
        '| m1 | u2pl 1_8 | 1 | 41.0 |',
        '| m2 | all of train (9 images) 66666666 | 1 | 42.0 |',
        '| m3 | unknown | 1 | 43.0 |',
        '',
        'protocol unknown: m3',
    ]


def test_seeds_on_two_lists_are_both_named(tmp_path):
    seeds = [run(tmp_path, f's{i}', p, mIoU=40.0) for i, p in enumerate((U2PL_16, U2PL_8))]
    other = run(tmp_path, 'other', U2PL_16, mIoU=40.0)
    lines = markdown_table({'both': seeds, 'one': [other]}).splitlines()
    assert lines[2:] == [
        '| both | u2pl 1_16, u2pl 1_8 | 2 | 40.0 ± 0.0 |',
        '| one | u2pl 1_16 | 1 | 40.0 |',
    ]


@pytest.mark.parametrize(
    ('one', 'other', 'what'),
    [
        ((U2PL_16, TEST), (CPS_16, TEST), ("trained on 'u2pl 1_16'", "on 'cps 1_16'")),
        # the same file name elsewhere, with other images
        ((OWN, None), (OWN_OTHER, None), ("trained on 'mine 44444444'", "on 'mine 55555555'")),
        ((U2PL_16, TEST), (U2PL_16, VAL), ("scored on 'all of test", "on 'all of val")),
        ((None, TEST), (None, VAL), ("scored on 'all of test", "on 'all of val")),
    ],
    ids=['families', 'one-name', 'scored', 'old-runs-scored'],
)
def test_other_protocols_get_no_common_table(tmp_path, one, other, what):
    remedy = 'Make a table of each'
    runs = (f'm0 ({tmp_path / "m0"})', f'm1 ({tmp_path / "m1"})')
    tiny.assert_raises(ValueError, lambda: table_of(tmp_path, one, other), *runs, *what, remedy)


def test_seeds_of_one_method_must_agree_too(tmp_path):
    seeds = [run(tmp_path, f's{i}', p, mIoU=40.0) for i, p in enumerate((U2PL_16, CPS_16))]
    tiny.assert_raises(ValueError, lambda: markdown_table({'m': seeds}), 's0', 's1')


def test_folds_of_one_draw_are_each_scored_on_their_own(tmp_path):
    folds = [run(tmp_path, f'f{i}', scored_on=f, mIoU=40.0 + 2 * i) for i, f in enumerate(FOLDS)]
    assert '| m | 2 | 41.0 ± 1.4 |' in markdown_table({'m': folds})


def test_the_command_refuses_in_one_line(tmp_path, run_tool, capsys):
    work_dirs = [run(tmp_path, p.family, p, mIoU=40.0) for p in (U2PL_16, CPS_16)]
    for folder in work_dirs:
        add_config(folder, folder.name)
    with pytest.raises(SystemExit) as error:
        run_tool('report.py', *work_dirs)
    assert error.value.code == 2
    output = capsys.readouterr()
    assert output.out == ''
    assert re.fullmatch(r'error: u2pl \(.*\) was trained on .*same lists\n', output.err)


def test_the_command_prints_methods_of_different_predictors(methods, run_tool, capsys):
    for name, (folder,) in methods.items():
        add_config(folder, name)
    run_tool('report.py', *(folder for (folder,) in methods.values()))
    assert '| CPS | 1 | 47.0 |' in capsys.readouterr().out


def test_gain_table_shows_the_difference():
    before, after = {'mIoU': 50.0, 'IoU.sky': 80.0}, {'mIoU': 54.24, 'IoU.sky': 78.5}
    table = gain_table(before, after, ('labels', 'U²PL'))
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ['sky', 'mIoU']
    assert cells[1:3] == [['80.0', '50.0'], ['78.5', '54.2']]
    assert cells[3] == ['-1.5', '+4.2']


def test_lists_of_one_family_compare():
    u2pl = Protocol('u2pl 1_16', 'u2pl', '1_16', '1')
    other = Protocol('list 2', '', 'list', '2')
    assert same_family(u2pl, u2pl._replace(list_name='1_8', digest='0'))
    assert same_family(u2pl, other)
    assert not same_family(u2pl, u2pl._replace(family='cps', list_name='1_8'))
    assert not same_family(u2pl, u2pl._replace(digest='0'))
    assert not same_family(other, other._replace(digest='0'))
