"""The report of ``make gpu-report``, in miniature on a CPU."""

import json
import runpy
import shutil
import time
from multiprocessing import Pipe
from pathlib import Path

import fake_tools
import gpu_children
import pytest
import torch

from mmseg_u2pl.analysis import gpu_report, gpu_tasks
from mmseg_u2pl.analysis.gpu_report import markdown, measure, run_tasks
from mmseg_u2pl.analysis.gpu_tasks import GROUPS, READS, WAITS, Settings, tasks, waits_of
from mmseg_u2pl.prepare.synthetic import write_dataset

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='module')
def settings(tmp_path_factory):
    root = tmp_path_factory.mktemp('scenes') / 'data'
    write_dataset(root, num_labeled=8, num_unlabeled=8, num_val=1, num_test=1)
    return Settings(CONFIGS, root, 'cpu', tiny=True)


def test_a_step_of_each_method_is_measured(settings):
    known = tasks(settings)
    u2pl, supervised = (known['parts', name]() for name in ('U2PL', 'supervised'))
    assert u2pl['overhead'] > 1
    assert u2pl['peak, MiB'] > supervised['peak, MiB'] > 0
    assert u2pl['contrastive loss, ms'] > 0
    assert 'overhead' not in supervised  # its forward is not told apart


def test_waits_are_found_where_they_happen(settings):
    found = tasks(settings)['waiting', 'supervised']()
    (loss,) = [key for key in found if 'cross_entropy_loss.py' in key]
    assert loss.startswith(READS[0])
    assert found[loss] == 1  # mmseg counts labels on the host
    assert found['waits'] == sum(n for key, n in found.items() if ' in ' in key)


def test_waits_by_hand():
    def event(name, ts, dur=1, tid=1, cat='cuda_runtime'):
        return dict(name=name, ts=ts, dur=dur, tid=tid, cat=cat)

    def frame(name, ts, dur, tid=1):
        return event(name, ts, dur, tid, 'python_function')

    events = [
        event('step', 10, 80, cat='user_annotation'),
        event('step', 10, 80, cat='gpu_user_annotation'),
        frame('/x/mmengine/runner/loops.py(1): run', 0, 100),
        frame('/x/mmseg_u2pl/models/a.py(2): inner', 20, 10),
        frame('/x/other/b.py(3): c', 21, 5),
        frame('/x/mmseg/d.py(4): another thread', 22, 3, tid=2),
        event('cudaStreamSynchronize', 22),
        event('cudaStreamSynchronize', 24),
        event('cudaDeviceSynchronize', 60),
        event('cudaDeviceSynchronize', 95),  # after the step: the clock's own
        event('cudaLaunchKernel', 23),
        event('cudaEventSynchronize', 50, tid=3),
    ]
    assert waits_of(events, WAITS) == {
        'cudaStreamSynchronize in mmseg_u2pl/models/a.py(2): inner': 2,
        'cudaDeviceSynchronize in mmengine/runner/loops.py(1): run': 1,
        'cudaEventSynchronize in elsewhere': 1,
    }


def test_more_classes_take_more(settings):
    few, many = (tasks(settings)['losses', f'{n} classes']() for n in (21, 150))
    for figures in (few, many):
        assert set(figures) == {'L_u, ms', 'L_u, MiB', 'L_c, ms', 'L_c, MiB'}
    assert many['L_c, MiB'] > few['L_c, MiB'] > 0


def test_settings_that_do_not_fit_lead_to_smaller_ones(settings, monkeypatch):
    def step(settings, method, images, options):
        if images > 2 or 'model.backbone.with_cp' not in options:
            raise torch.cuda.OutOfMemoryError('out of memory')
        return {'step, ms': 5.0}

    monkeypatch.setattr(gpu_tasks, 'step', step)
    assert tasks(settings)['12 GB', 'U2PL']() == {
        '4 + 4': 'does not fit: OutOfMemoryError: out of memory',
        '4 + 4, with_cp': 'does not fit: OutOfMemoryError: out of memory',
        '2 + 2': 'does not fit: OutOfMemoryError: out of memory',
        '2 + 2, with_cp': 'fits',
        'step, ms': 5.0,
    }


def test_a_task_that_fails_leaves_the_others_alone(settings, monkeypatch):
    def fails():
        raise RuntimeError('no such thing')

    known = {('x', 'one'): fails, ('x', 'two'): lambda: {'ms': 1.0}}
    monkeypatch.setattr(gpu_report, 'tasks', lambda settings: known)
    receiver, sender = Pipe(duplex=False)
    run_tasks(list(known), settings, sender)
    first, second = receiver.recv(), receiver.recv()
    assert first.pop('seconds') >= 0
    assert first == {'error': 'RuntimeError: no such thing'}
    assert second['ms'] == 1.0


@pytest.mark.parametrize(
    ('child', 'seconds', 'a', 'b'),
    [
        (gpu_children.works, 60, {'keys': ['a', 'b']}, {'keys': ['a', 'b']}),
        (gpu_children.ends, 60, {'error': 'CUDA'}, {'keys': ['b']}),
        (gpu_children.dies, 60, {'error': 'the process ended with 3'}, {'keys': ['b']}),
        (gpu_children.sleeps, 1, {'error': 'the time was over'}, {'error': 'the time was over'}),
        (gpu_children.works, -1, {'error': 'the time was over'}, {'error': 'the time was over'}),
    ],
)
def test_a_task_that_hangs_or_dies_leaves_the_others_alone(child, seconds, a, b):
    start = time.monotonic()
    found = list(measure(start + seconds, ['a', 'b'], None, child))  # type: ignore[arg-type,list-item]
    assert found == [('a', a), ('b', b)]
    assert time.monotonic() - start < 40


def test_after_a_task_that_hangs_another_process_goes_on():
    found = measure(time.monotonic() + 60, ['a', 'b'], None, gpu_children.sleeps, limit=5)  # type: ignore[arg-type,list-item]
    assert list(found) == [('a', {'error': 'not done after 5 s'}), ('b', {'keys': ['b']})]


def test_each_group_has_tasks(settings):
    assert {group for group, _ in tasks(settings)} == set(GROUPS)


def test_markdown():
    report: dict = {'steps': {'U2PL': {'ms': 1.234, 'waits': 3}}, 'x': {'y': {'error': 'no'}}}
    assert markdown(report).splitlines() == [
        '# GPU report', '', '## steps', '', '- **U2PL**: ms 1.23; waits 3',
        '', '## x', '', '- **y**: error no',
    ]  # fmt: skip


def test_the_tool_writes_both_files(run_tool, tmp_path):
    root, out = fake_tools.write(tmp_path / 'root'), tmp_path / 'out'
    tool = shutil.copy(CONFIGS.parent / 'tools/gpu_report.py', root / 'tools')
    config = str(root / 'config.py')
    out.mkdir()
    before = {'steps': {'U2PL': {'error': 'in [/brackets]'}}, 'training': {config: {'minutes': 7}}}
    (out / 'report.json').write_text(json.dumps(before))
    run_tool(tool, '--only', 'losses', '--minutes', 0, '--out', out, '--train', config)
    report = json.loads((out / 'report.json').read_text())
    assert report.pop('losses')['21 classes'] == {'error': 'the time was over'}
    assert report == before  # what was measured stays
    run_tool(
        tool, '--device', 'cpu', '--tiny', '--only', 'losses', '--minutes', 60, '--out', out,
        '--train', config, '--train-flags=--cfg-options randomness.seed=0',
    )  # fmt: skip
    report = json.loads((out / 'report.json').read_text())
    assert list(report['losses']) == ['21 classes', '150 classes']
    assert report['steps'] == {'U2PL': {'error': 'in [/brackets]'}}  # of an earlier call
    assert report['training'][config] == {
        'iterations': 6, 'minutes': 6.0,
        **{f'teacher mIoU at {at}': score for at, score in fake_tools.SCORES.items()},
        **{f'student mIoU at {at}': score - 10 for at, score in fake_tools.SCORES.items()},
    }  # fmt: skip
    assert markdown(report) == (out / 'report.md').read_text()
    train = runpy.run_path(str(tool))['train']
    failed = train(config, '--cfg-options fail=1', out, 60)
    assert failed == {'error': 'tools/train.py ended with 1: see train.txt'}
    assert train(config, '', out, 0) == {'error': 'the time was over'}  # not the first training's
