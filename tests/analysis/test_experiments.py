"""Lists of runs: nothing twice, resumed after kills, failures recorded."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import fake_tools
import pytest
import runs
from mmengine.config import Config
from rich.console import Console

from mmseg_u2pl.analysis.experiment_runner import run_all
from mmseg_u2pl.analysis.experiment_worker import Worker, locked
from mmseg_u2pl.analysis.experiments import (
    Experiment,
    append_result,
    chosen,
    is_done,
    pair,
    read_list,
    read_results,
    supervised_baseline,
)
from mmseg_u2pl.analysis.run_folder import RunFolder, read_config, scores_by_predictor

ONE = Experiment('a', 'config.py', '', '', 0, {}, {})


@pytest.fixture
def worker(tmp_path):
    return Worker(fake_tools.write(tmp_path / 'root'), tmp_path / 'work', tmp_path / 'runs.jsonl')


def finish(worker, experiment=ONE):
    """Run it; its record."""
    record = worker.run(experiment, {'OMP_NUM_THREADS': '1'})
    assert record is not None
    return record


def starts(worker, folder='a_s0'):
    """What was started for a run: trainings by their first iteration, tests by their checkpoint."""
    return (worker.work_dir / folder / 'starts').read_text().splitlines()


def die(worker, *moments, folder='a_s0'):
    """Let the training be killed at these moments."""
    (worker.work_dir / folder).mkdir(parents=True)
    for moment in moments:
        (worker.work_dir / folder / moment).touch()


def listed(tmp_path, text):
    path = tmp_path / 'list.yml'
    path.write_text(text)
    return read_list(path)


def test_a_list_has_defaults_and_goes_seed_by_seed(tmp_path):
    found = listed(
        tmp_path,
        """
defaults: {config: c.py, seeds: [0, 1], options: {a: {b: 1, c: [1, [2, x]]}}, env: {ROOT: /data}}
runs:
  - {name: m, data: camvid, split: '1_16', options: {a.b: 2, max_iters: 9}}
  - {name: n, seeds: [1], config: d.py}
""",
    )
    assert [run.folder for run in found] == ['m_camvid_1_16_s0', 'n_s1', 'm_camvid_1_16_s1']
    assert found[0].flags == [
        '--data', 'camvid', '--split', '1_16', '--iters', '9',
        '--cfg-options', 'a.b=2', 'a.c=[1,[2,x]]', 'randomness.seed=0',
    ]  # fmt: skip
    assert found[0].env == {'ROOT': '/data'}
    assert found[1].flags[0] == '--cfg-options'
    assert found[1].settings == dict(
        config='d.py', data='', split='', seed=1, overrides={'a.b': 1, 'a.c': [1, [2, 'x']]}
    )


@pytest.mark.parametrize(
    ('entries', 'says'),
    [
        ('[{name: a, config: c, split: 1_16}]', "split=116 is no text: quote it, like '1_16'"),
        ('[{name: a, config: c, option: 1}]', 'option is unknown'),
        ('[{name: a}]', 'config is unknown or missing'),
        ('[{name: a, config: c, seeds: 3}]', r'seeds=3 is no list: give \[3\]'),
        ('', 'expected runs, a list of mappings'),
        (
            '[{name: a, config: c}, {name: b, config: c}]',
            'a_s0 and b_s0 have the same name, or are',
        ),
        ('[{name: a, config: c}, {name: a, config: d}]', 'a_s0 and a_s0 have the same name'),
    ],
)
def test_mistakes_in_a_list(tmp_path, entries, says):
    with pytest.raises(ValueError, match=says):
        listed(tmp_path, f'runs: {entries}')


def test_a_last_line_without_newline_stays_unless_it_was_cut_off(tmp_path):
    path = tmp_path / 'runs.jsonl'
    records = [dict(ONE.settings, name=name, seed=i) for i, name in enumerate('abc')]
    path.write_text('\n'.join(map(json.dumps, records[:2])))  # as an editor leaves it
    assert read_results(path) == records[:2]
    assert append_result(path, records[2])
    assert read_results(path) == records
    with path.open('a') as file:
        file.write('\n{"name": "Stra')
    with path.open('ab') as file:
        file.write('ß'.encode()[:1])  # in the middle of a letter
    assert read_results(path) == records
    assert append_result(path, dict(records[0], seed=7))
    assert len([line for line in path.read_text().splitlines() if line]) == 4


def test_a_test_that_failed_leaves_the_training_finished(worker):
    worker.run(ONE, {})
    folder = RunFolder(worker.work_dir / ONE.folder)
    assert folder.is_trained()
    failed = folder.path / '9' / 'vis_data'  # with the default work dir of tools/test.py
    failed.mkdir(parents=True)
    (failed / 'config.py').write_text('resume = False')
    assert RunFolder(folder.path).results() == folder.results()


def test_a_run_is_one_line(worker):
    experiment = ONE._replace(data='camvid', split='1_16', overrides={'x': 1})
    folder = worker.work_dir / 'a_camvid_1_16_s0'
    worker.run(experiment, {})
    (record,) = read_results(worker.results)
    expected = dict(
        name='a', config='config.py', data='camvid', split='1_16', seed=0, overrides={'x': 1},
        iterations=6, minutes=6.0, predictor='teacher', scored_on=None,
        test={'teacher': {'cat': 39.0, 'mIoU': 39.0}, 'student': {'mIoU': 29.0}},
    )  # fmt: skip
    assert {key: record[key] for key in expected} == expected
    assert [(v['iteration'], v['scores']['teacher']['mIoU']) for v in record['val']] == [
        (2, 30.0), (4, 50.0), (6, 40.0),
    ]  # fmt: skip
    best = record['best']
    assert (best['key'], best['iteration']) == ('teacher/mIoU', 4)
    assert best['val']['student'] == {'mIoU': 40.0}
    assert best['test']['teacher'] == {'cat': 49.0, 'mIoU': 49.0}
    assert {'torch', 'mmcv', 'mmengine', 'mmseg', 'mmseg_u2pl', 'commit'} == set(record['versions'])
    config = RunFolder(folder).config
    assert config is not None
    assert (config.data, config.split) == ('camvid', '1_16')


def test_settings_are_what_a_results_file_gives_back(worker):
    pair = ONE._replace(overrides={'model.data_preprocessor.size': (192, 256)})
    assert finish(worker, pair)['added']
    assert is_done(pair.settings, read_results(worker.results))
    assert not finish(worker, pair)['added']


def test_without_git_the_commit_is_unknown(worker, monkeypatch):
    monkeypatch.setenv('PATH', '')
    assert finish(worker)['versions']['commit'] == 'unknown'


def test_metrics_that_were_cut_off_are_measured_again(worker):
    finish(worker)
    for path in (worker.work_dir / 'a_s0/test').glob('*/*.json'):
        path.write_text('')
    worker.results.unlink()
    assert 'error' not in finish(worker)
    assert starts(worker)[-1] == 'test 6'


def test_nothing_twice(worker):
    assert finish(worker)['added']
    assert not finish(worker)['added']
    assert not finish(worker, ONE._replace(name='other'))['added']
    assert starts(worker) == ['train from 0', 'test 6', 'test_best 4']
    worker.results.unlink()  # a finished folder needs no process
    assert finish(worker)['added']
    assert len(starts(worker)) == 3


@pytest.mark.parametrize(
    ('moment', 'begins'),
    [('saving 4', 2), ('saved 4', 2), ('validated 4', 2), ('saved 2', 0), ('saved 6', 4)],
)
def test_a_killed_training_continues_with_what_is_whole(worker, moment, begins):
    """Each validation takes place, and the best checkpoint is the best."""
    die(worker, moment)
    record = finish(worker)
    assert starts(worker)[:2] == [f'train from {n}' for n in (0, begins)]
    assert starts(worker)[2:] == ['test 6', 'test_best 4']
    assert [v['iteration'] for v in record['val']] == [2, 4, 6]
    assert record['minutes'] == 6.0  # repeated iterations count once


def test_a_second_training_in_a_folder_replaces_the_first(worker):
    """Its lines, but not those of a training that it resumes; the scores of the first are gone."""
    finish(worker)
    folder = worker.work_dir / 'a_s0'
    assert RunFolder(folder).tested('test')
    for name in ('second', 'third'):
        resume = ['--resume'] if name == 'third' else []
        words = [worker.root / 'config.py', '--work-dir', folder, *resume, '--cfg-options']
        options = ['randomness.seed=0', f'train_cfg.max_iters={2 if not resume else 4}']
        command = [sys.executable, worker.root / 'tools/train.py', *words, *options]
        if not resume:
            for path in folder.glob('*.pth'):
                path.unlink()
        subprocess.run(command, check=True)
    run = RunFolder(folder)
    assert [line['step'] for line in run.logged if 'loss' in line] == [1, 2, 3, 4]
    assert list(run.validations) == [2, 4]
    assert run.tested('test') is None
    assert run.tested('test_best') is None


def test_a_process_that_is_always_killed_is_a_failure(worker):
    die(worker, 'saving 2', 'saved 2', 'validated 2')
    assert 'ended with -9' in finish(worker)['error']


def test_another_run_may_not_take_a_folder(worker):
    worker.run(ONE, {})
    error = finish(worker, ONE._replace(overrides={'x': 2}))['error']
    assert 'a_s0 has a run with another overrides' in error


def test_a_changed_config_does_not_continue_a_run(worker):
    run_the_list(worker, ONE)
    config = worker.root / 'config.py'
    text = config.read_text()
    for change in ("work_dir = 'x'", 'train_dataloader.update(num_workers=3)'):
        config.write_text(f'{text}{change}\n')
        worker.results.unlink()
        assert 'error' not in run_the_list(worker, ONE)[0]
    config.write_text(text.replace("type='A'", "type='B'"))
    assert 'error' not in [*run_the_list(worker, ONE), {}][0]  # it has a result
    worker.results.unlink()
    error = run_the_list(worker, ONE)[0]['error']
    assert error.startswith(
        'config.py or --cfg-options were changed since a_s0 was trained: move /'
    )
    for path in (worker.work_dir / 'a_s0').glob('iter*'):  # as after a mistake in the config
        path.unlink()
    assert 'error' not in run_the_list(worker, ONE)[0]
    config.write_text(text)
    worker.results.unlink()
    assert 'error' in run_the_list(worker, ONE)[0]
    facts = worker.work_dir / 'a_s0/run.json'
    older = json.loads(facts.read_text())
    del older['digest']
    facts.write_text(json.dumps(older))
    assert 'error' not in run_the_list(worker, ONE)[0]


def test_runs_of_a_list_are_chosen_by_patterns():
    runs = [ONE._replace(name=name, seed=seed) for seed in (0, 1) for name in ('a', 'ab')]
    assert chosen(runs, []) == runs
    assert [run.folder for run in chosen(runs, ['a_*', 'ab_s1'])] == ['a_s0', 'a_s1', 'ab_s1']
    with pytest.raises(ValueError, match=r"'ab_s2'; like it: ab_s\d, ab_s\d"):
        chosen(runs, ['a_s0', 'ab_s2'])


def run_the_list(worker, *experiments):
    with open(os.devnull, 'w') as file:
        return run_all(worker, experiments, 1, Console(file=file))


def run_until_ctrl_c(worker, *experiments):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    run_the_list(worker, *experiments)


def test_a_failure_does_not_stop_the_list(worker):
    bad = ONE._replace(name='bad', overrides={'fail': 1})
    run_the_list(worker, bad, ONE)
    failed, done = read_results(worker.results)
    assert failed['error'].splitlines() == [
        'tools/train.py ended with 1', 'a line of the log', 'file.py: it fails',
    ]  # fmt: skip
    assert done['name'] == 'a'
    assert [record['name'] for record in run_the_list(worker, bad, ONE)] == ['bad']  # once more
    assert len(read_results(worker.results)) == 2


@pytest.mark.parametrize('error', [True, False])
def test_the_exit_code(run_tool, tmp_path, monkeypatch, error):
    record = dict(error='x') if error else {}
    monkeypatch.setattr('mmseg_u2pl.analysis.experiment_runner.run_all', lambda *_: [{}, record])
    (tmp_path / 'list.yml').write_text('runs: []')
    if error:
        with pytest.raises(SystemExit) as stop:
            run_tool('run_experiments.py', tmp_path / 'list.yml')
        assert stop.value.code == 1
    else:
        run_tool('run_experiments.py', tmp_path / 'list.yml')


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError('nothing happened')


def test_a_killed_runner_leaves_no_process_and_its_run_continues(worker):
    runner = get_context('fork').Process(target=worker.run, args=(ONE, {'PAUSE': '0.3'}))
    runner.start()
    folder = worker.work_dir / 'a_s0'
    wait_for(lambda: RunFolder(folder).iteration >= 3)
    assert worker.run(ONE, {}) is None  # another process has its lock
    runner.kill()
    runner.join()

    def free():
        with locked(folder) as lock:
            return lock is not None

    wait_for(free)
    before = RunFolder(folder).iteration
    time.sleep(0.5)
    assert RunFolder(folder).iteration == before < 6
    worker.run(ONE, {})
    assert starts(worker)[1:] == ['train from 2', 'test 6', 'test_best 4']


def test_ctrl_c_stops_what_runs_and_records_nothing(worker):
    slow = ONE._replace(env={'PAUSE': '0.3'})
    runner = get_context('fork').Process(target=run_until_ctrl_c, args=(worker, slow))
    runner.start()
    folder = worker.work_dir / 'a_s0'
    wait_for(lambda: RunFolder(folder).iteration >= 1)
    assert runner.pid is not None
    os.kill(runner.pid, signal.SIGINT)
    runner.join(30)
    assert runner.exitcode
    with locked(folder) as lock:
        assert lock is not None
    assert read_results(worker.results) == []


def test_two_runners_share_a_list(worker, monkeypatch):
    monkeypatch.setattr('mmseg_u2pl.analysis.experiment_runner.POLL', 0.1)
    three = [
        ONE._replace(name=name, overrides={'x': name}, env={'PAUSE': '0.05'}) for name in 'abc'
    ]
    other = get_context('fork').Process(target=run_the_list, args=(worker, *three))
    other.start()
    run_the_list(worker, *three)
    other.join()
    assert sorted(record['name'] for record in read_results(worker.results)) == ['a', 'b', 'c']
    for run in three:
        assert len(starts(worker, run.folder)) == 3


def test_lines_that_were_cut_off_do_not_count(tmp_path):
    path = tmp_path / 'runs.jsonl'
    record = dict(name='a', **ONE.settings)
    assert append_result(path, record | dict(error='x'))
    with path.open('a') as file:
        file.write(json.dumps(record)[:-5])
    assert not is_done(ONE.settings, read_results(path))
    assert append_result(path, record)
    assert not append_result(path, record)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        record | dict(error='x'), record,
    ]  # fmt: skip
    assert read_results(path) == [record]


HOOK = """
import os
from pathlib import Path
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from yapf.yapflib import yapf_api

yapf_api.FormatCode = lambda text, **_: (text, True)  # takes most of the time of a tiny run

@HOOKS.register_module()
class DieOnce(Hook):
    def after_train_iter(self, runner, batch_idx, *args, **kwargs):
        marker = Path(runner.work_dir, 'died')
        if batch_idx == 4 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 9)
"""


def test_a_killed_training_has_the_scores_of_an_uninterrupted_one(data_root, tmp_path):
    """With the repository's own tools: killed in iteration 5 of 6, resumed from the third."""
    (tmp_path / 'die_once.py').write_text(HOOK)
    root = Path(__file__).parents[2]
    changes = {'custom_imports.imports': ['mmseg_u2pl', 'die_once']}
    config = runs.config(data_root, tmp_path / 'config', **changes)
    config.custom_hooks = [dict(type='DieOnce')]
    config.dump(tmp_path / 'tiny.py')
    path = os.pathsep.join((str(tmp_path), str(root), os.environ.get('PYTHONPATH', '')))
    experiment = ONE._replace(config=str(tmp_path / 'tiny.py'), env={'PYTHONPATH': path})
    worker = Worker(root, tmp_path / 'work', tmp_path / 'runs.jsonl')
    record = finish(worker, experiment)
    assert 'error' not in record, record['error']
    assert (worker.work_dir / 'a_s0/died').exists()
    assert 'resumed epoch: 0, iter: 3' in (worker.work_dir / 'a_s0/log.txt').read_text()

    runs.runner(data_root, tmp_path / 'whole', **{'randomness.seed': 0}).train()
    whole = RunFolder(tmp_path / 'whole')
    curve = [dict(iteration=n, scores=scores_by_predictor(m)) for n, m in whole.validations.items()]
    assert record['val'] == curve
    assert [entry['iteration'] for entry in curve] == [3, 6]
    assert record['test'] == curve[-1]['scores']  # the same images


# ---------------------------------------------------------------- pairs
CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('config', 'baseline'),
    [
        ('u2pl/u2pl_effnet-lite0_small', 'supervised_effnet-lite0_small'),
        ('unimatch_v2/unimatch-v2_effnet-lite0_small', 'supervised_effnet-lite0_small'),
        (
            'fixmatch/fixmatch-balanced_effnet-lite0_small',
            'supervised-balanced_effnet-lite0_small',
        ),
        ('u2pl/u2pl_r101-d8_voc12-513x513', 'supervised_r101-d8_voc12-513x513'),
    ],
)
def test_the_baseline_of_a_shipped_config(config, baseline):
    found = supervised_baseline(CONFIGS / f'{config}.py')
    assert found == CONFIGS / f'supervised/{baseline}.py'


def test_the_baseline_of_a_config_of_yours(tmp_path):
    for name in ('street.py', 'street_supervised.py'):
        (tmp_path / name).touch()
    assert supervised_baseline(tmp_path / 'street.py') == tmp_path / 'street_supervised.py'
    with pytest.raises(FileNotFoundError, match=r'other.py: its supervised .* --baseline'):
        supervised_baseline(tmp_path / 'other.py')


def test_a_pair_has_equal_budget(tmp_path):
    options = {'train_cfg.max_iters': 8, 'model.warmup_iters': 2, 'model.decode_head.dropout': 0}
    config = CONFIGS / 'u2pl/u2pl_effnet-lite0_small.py'
    method = Experiment(config.stem, str(config), 'synthetic', '', 0, options, {})
    found = pair(method, supervised_baseline(config), 2, CONFIGS.parent)
    names = ['supervised_synthetic_s0', 'u2pl_synthetic_s0']
    assert [run.folder for run in found] == names + [f'{name[:-1]}1' for name in names]
    assert found[1].overrides == options
    assert found[0].overrides.keys() == options.keys() - {'model.warmup_iters'}
    assert found[0].config == 'configs/supervised/supervised_effnet-lite0_small.py'
    other = tmp_path / 'longer.py'
    other.write_text(
        f'_base_ = {str(supervised_baseline(config))!r}\ntrain_cfg = dict(max_iters=9)\n'
    )
    with pytest.raises(ValueError, match=r'longer.py trains for 9 iterations, .* for 1000'):
        pair(method._replace(overrides={}), other, 1, CONFIGS.parent)


def test_the_command_trains_a_pair_and_ends_with_a_page(
    worker, tmp_path, run_tool, monkeypatch, capsys
):
    tool = shutil.copy(CONFIGS.parent / 'tools/run_pair.py', worker.root / 'tools')
    config = worker.root / 'config.py'
    config.with_stem('config_supervised').write_text(config.read_text())
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second time nothing is left to do
        run_tool(tool, config, '--seeds', 2, '--jobs', 2, '--work-dir', 'work')
        assert starts(worker, 'config_s1') == ['train from 0', 'test 6', 'test_best 4']
    page = (tmp_path / 'work/report.html').read_text()
    assert 'config − config_supervised, last checkpoint' in page
    assert 'By seed: +0.0 (0), +0.0 (1)' in page
    with pytest.raises(SystemExit) as stop:
        run_tool(tool, config, '--seeds', 0)
    assert stop.value.code == 2
    config.write_text(config.read_text().replace("type='A'", "type='B'"))
    with pytest.raises(SystemExit):
        run_tool(tool, config, '--seeds', 2, '--jobs', 2, '--work-dir', 'work')
    says = 'config.py or --cfg-options were changed since config_s0 was trained: move work away'
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ('kept', 'expected'),
    [
        (dict(save_best='teacher/mIoU'), ('teacher/mIoU', 4)),
        (dict(save_best=['student/loss', 'teacher/mIoU'], rule=['less']), ('student/loss', 6)),
        (dict(save_best='student/loss', rule='less'), ('student/loss', 6)),
        (dict(save_best='auto'), None),
        (dict(), None),
    ],
)
def test_the_best_of_a_run_is_by_its_own_rule(tmp_path, kept, expected):
    folder = RunFolder(tmp_path)
    folder.config = Config(dict(default_hooks=dict(checkpoint=kept)))
    scores = {2: (30.0, 0.9), 4: (50.0, 0.5), 6: (40.0, 0.1)}
    folder.validations = {
        n: {'teacher/mIoU': score, 'student/loss': loss} for n, (score, loss) in scores.items()
    }
    assert folder.best() == expected


def test_threads_read_configs_one_after_the_other(monkeypatch):
    """In Python 3.11 syntax trees that two threads make at once may end in a SystemError."""
    reading, most = [], []

    def fromfile(path, **_):
        reading.append(path)
        most.append(len(reading))
        time.sleep(0.01)
        reading.remove(path)
        return Config(dict(x=1))

    monkeypatch.setattr(Config, 'fromfile', fromfile)
    with ThreadPoolExecutor(4) as threads:
        configs = list(threads.map(read_config, map(Path, map(str, range(12)))))
    assert [config.x for config in configs] == [1] * 12
    assert set(most) == {1}


def test_a_line_that_is_no_result_is_named(tmp_path):
    path = tmp_path / 'runs.jsonl'
    for line in ('{"a": 1}', '[1]', 'words'):
        path.write_text(f'{json.dumps(dict(ONE.settings))}\n{line}\n')
        with pytest.raises(ValueError, match=r'runs\.jsonl, line 2: is no result of a run'):
            read_results(path)


@pytest.mark.parametrize(('best', 'trained'), [(2, True), (4, False)])
def test_a_best_checkpoint_that_was_moved_is_not_trained_again(
    data_root, tmp_path, monkeypatch, best, trained
):
    """One of the last iteration may not have been written before a kill."""
    changes = {'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 2}
    runs.runner(data_root, tmp_path, 4, **changes).train()
    for path in tmp_path.glob('best_*'):
        path.unlink()
    monkeypatch.setattr(RunFolder, 'best', lambda *_: ('teacher/mIoU', best))
    folder = RunFolder(tmp_path)
    assert folder.is_trained() is trained
    assert folder.resume_point() == tmp_path / f'iter_{4 if trained else 2}.pth'
