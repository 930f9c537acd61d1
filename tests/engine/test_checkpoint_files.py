"""Checkpoints survive a crash or a full disk, are found again, and load as data."""

import errno
import os
import pickle
import runpy
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
import runs
import tiny
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.visualization import LocalVisBackend
from mmseg.registry import MODELS

from mmseg_u2pl.engine import checkpoints
from mmseg_u2pl.engine.checkpoints import AtomicBackend, check_fits, latest_checkpoint, plain
from mmseg_u2pl.engine.trust import set_trust


def files(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def keeping(number):
    return {'default_hooks.checkpoint.max_keep_ckpts': number}


def full_disk(monkeypatch, name):
    """Files of this name cannot be written."""
    put = AtomicBackend.put

    def full(self, obj, path):
        if Path(path).name == name:
            raise OSError(errno.ENOSPC, 'No space left on device')
        put(self, obj, path)

    monkeypatch.setattr(AtomicBackend, 'put', full)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    backend, path = AtomicBackend(), tmp_path / 'deep/file.pth'
    backend.put(b'old', path)
    backend.put(b'new', path)
    assert path.read_bytes() == b'new'

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        backend.put(b'newer', path)
    assert path.read_bytes() == b'new'
    assert [each.name for each in path.parent.iterdir()] == ['file.pth']


def test_the_previous_checkpoint_goes_last(data_root, tmp_path, monkeypatch):
    """At every write the previous checkpoint is still there."""
    seen = []
    put = AtomicBackend.put

    def watched(self, obj, path):
        seen.append((Path(path).name, files(tmp_path)))
        put(self, obj, path)

    monkeypatch.setattr(AtomicBackend, 'put', watched)
    runs.runner(data_root, tmp_path, 9, **keeping(1)).train()
    regular = [(name, there) for name, there in seen if name.startswith('iter_')]
    assert ('iter_6.pth', ['iter_3.pth']) in [
        (name, [each for each in there if each.startswith('iter_')]) for name, there in regular
    ]
    assert [name for name in files(tmp_path) if name.startswith('iter_')] == ['iter_9.pth']
    assert len([name for name in files(tmp_path) if name.startswith('best_')]) == 1


def test_a_full_disk_leaves_the_previous_checkpoint_and_training_goes_on(
    data_root, tmp_path, monkeypatch
):
    full_disk(monkeypatch, 'iter_6.pth')
    trained = runs.runner(data_root, tmp_path, 7, **keeping(1))
    after_six = []
    hook = next(hook for hook in trained.hooks if isinstance(hook, checkpoints.SafeCheckpointHook))
    after_iter = hook.after_train_iter

    def watched(runner, *args, **kwargs):
        after_iter(runner, *args, **kwargs)
        if runner.iter == 5:
            after_six.extend(files(tmp_path))

    hook.after_train_iter = watched
    trained.train()
    assert trained.iter == 7
    assert 'iter_3.pth' in after_six
    assert [name for name in files(tmp_path) if name.startswith('iter_')] == ['iter_7.pth']
    log = runs.log_of(tmp_path)
    assert 'no checkpoint at iteration 6' in log
    assert 'No space left on device' in log


def test_the_dumped_config_is_whole_or_missing(data_root, tmp_path, monkeypatch):
    runs.runner(data_root, tmp_path / 'a', 3)
    (dump,) = tmp_path.glob('a/*/vis_data/config.py')
    assert Config.fromfile(dump).train_cfg.max_iters == 3

    full_disk(monkeypatch, 'config.py')
    with pytest.raises(OSError, match='No space left'):
        runs.runner(data_root, tmp_path / 'b', 3)
    assert list(tmp_path.glob('b/*/vis_data/config.py')) == []


class Score(Hook):
    """The metric of each validation, by iteration."""

    priority = 'HIGHEST'

    def __init__(self, *scores, names=('teacher/mIoU',)):
        self.scores, self.names = iter(scores), names

    def after_val_epoch(self, runner, metrics=None):
        metrics.update(dict.fromkeys(self.names, next(self.scores)))


def test_what_a_run_on_another_batch_writes_for_the_second_time_stays(data_root, tmp_path):
    every_two = {'default_hooks.checkpoint.interval': 2, 'train_cfg.val_interval': 2, **keeping(2)}
    first = {'auto_scale_lr': dict(base_batch_size=4), **every_two}
    before = runs.runner(data_root, tmp_path, 6, **first)
    before.register_hook(Score(1.0, 9.0, 2.0))
    before.train()
    again = {
        'train_dataloader.batch_size': 8, 'auto_scale_lr.base_batch_size': 8,
        'resume': True, 'load_from': str(tmp_path / 'iter_4.pth'),  # iteration 2 of this batch
    }  # fmt: skip
    after = runs.runner(data_root, tmp_path, 6, **{**first, **again})
    after.register_hook(Score(50.0, 3.0))  # at 4 and 6
    after.train()
    assert {'best_teacher_mIoU_iter_4.pth', 'iter_4.pth', 'iter_6.pth'} <= set(files(tmp_path))


def test_a_number_that_is_written_for_the_second_time_is_the_newest(data_root, tmp_path):
    first = {'auto_scale_lr': dict(base_batch_size=4), 'default_hooks.checkpoint.interval': 2}
    first |= keeping(3)
    runs.runner(data_root, tmp_path, 6, **first).train()
    again = {
        'train_dataloader.batch_size': 8, 'auto_scale_lr.base_batch_size': 8,
        'default_hooks.checkpoint.interval': 1,
        'resume': True, 'load_from': str(tmp_path / 'iter_6.pth'),  # iteration 3 of this batch
    }  # fmt: skip
    runs.runner(data_root, tmp_path, 6, **{**first, **again}).train()
    assert [name for name in files(tmp_path) if name.startswith('iter_')] == [
        'iter_4.pth', 'iter_5.pth', 'iter_6.pth',
    ]  # fmt: skip


@pytest.mark.parametrize(
    'names', [['teacher/mIoU', 'student/mIoU'], ['student/mIoU', 'teacher/mIoU']]
)
def test_a_full_disk_leaves_no_second_best_checkpoint(data_root, tmp_path, monkeypatch, names):
    full_disk(monkeypatch, 'best_teacher_mIoU_iter_3.pth')
    changes = {'default_hooks.checkpoint.save_best': names, 'train_cfg.val_interval': 1}
    trained = runs.runner(data_root, tmp_path, 4, **changes)
    trained.register_hook(Score(1.0, 2.0, 3.0, 4.0, names=names))
    trained.train()
    best = [name for name in files(tmp_path) if name.startswith('best_')]
    assert best == ['best_student_mIoU_iter_4.pth', 'best_teacher_mIoU_iter_4.pth']
    assert 'no checkpoint at iteration 3' in runs.log_of(tmp_path)


def test_a_full_disk_loses_lines_of_the_log_and_no_training(data_root, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(LocalVisBackend, '_dump', full)
    trained = runs.runner(data_root, tmp_path, 3)
    trained.train()
    assert trained.iter == 3
    assert 'iter_3.pth' in files(tmp_path)


def test_a_checkpoint_is_data(data_root, tmp_path):
    runs.runner(data_root, tmp_path, 3).train()
    state = torch.load(tmp_path / 'iter_3.pth', weights_only=True)
    assert type(state['message_hub']['runtime_info']['best_score']) is float
    best = torch.load(next(tmp_path.glob('best_*.pth')), weights_only=True)
    assert 'optimizer' not in best
    assert [name for name in best['state_dict'] if 'bank' in name] == []
    assert [name for name in state['state_dict'] if 'bank' in name] != []
    model = runs.runner(data_root, tmp_path / 'other', 3).model
    assert model.load_state_dict(best['state_dict']).missing_keys == []


def test_logs_come_back_as_they_were():
    buffer = HistoryBuffer([0.1, float('nan'), 3.0], [1, 1, 2], max_length=7)
    state = dict(log_scalars={'train/loss': buffer}, runtime_info={'iter': 3}, resumed_keys={})
    saved = plain(state)
    assert pickle.loads(pickle.dumps(saved)).keys() == state.keys()
    checkpoint = dict(message_hub=saved, meta=dict(config='raise SystemExit', iter=3))
    checkpoint['state_dict'] = {}
    log = saved['log_scalars']['train/loss']
    for key in ('values', 'counts'):  # a resumed run loads them onto its GPU
        log[key] = SimpleNamespace(cpu=lambda value=log[key]: value)
    runner = SimpleNamespace(model=torch.nn.Identity(), _train_loop=None)
    checkpoints.SafeCheckpointHook().after_load_checkpoint(runner, checkpoint)
    loaded = checkpoint['message_hub']['log_scalars']['train/loss']
    for mine, theirs in zip(loaded.data, buffer.data, strict=True):
        assert mine.dtype == theirs.dtype
        assert repr(mine.tolist()) == repr(theirs.tolist())
    assert loaded.max_length == 7
    assert checkpoint['meta'] == dict(iter=3)  # mmengine would run its text as Python


@pytest.mark.parametrize('several', [False, True])
def test_adam_counts_on_the_cpu_after_a_resume(several, monkeypatch):
    moments, step = torch.ones(2), torch.tensor(3.0)
    monkeypatch.setattr(step, 'cpu', lambda: torch.tensor(4.0))  # as if it lay on a GPU
    of_weight = dict(step=step, exp_avg=moments)
    state = dict(state={0: of_weight}, param_groups=[])
    optimizer = dict(networks=state, loss_scaler={}) if several else state
    checkpoint = dict(state_dict={}, optimizer=optimizer)
    runner = SimpleNamespace(model=torch.nn.Identity(), _train_loop=None)
    checkpoints.SafeCheckpointHook().after_load_checkpoint(runner, checkpoint)
    assert of_weight['step'].item() == 4.0
    assert of_weight['exp_avg'] is moments


def save(path, **more):
    torch.save(dict(state_dict={}, optimizer={}, **more), path)
    return path


def test_the_newest_that_can_be_read(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / 'best_mIoU_iter_99.pth').touch()
    assert latest_checkpoint(tmp_path) is None  # nothing that training goes on from
    (tmp_path / 'last_checkpoint').write_text('/moved/away/iter_900.pth')
    save(tmp_path / 'iter_900.pth')
    newest = save(tmp_path / 'iter_1000.pth')  # 1000 > 900, by number
    assert latest_checkpoint(tmp_path) == newest
    newest.write_bytes(newest.read_bytes()[:-40])
    assert latest_checkpoint(tmp_path) == tmp_path / 'iter_900.pth'
    newest.write_bytes(b'')
    assert latest_checkpoint(tmp_path) == tmp_path / 'iter_900.pth'


def test_the_newest_has_seen_most_samples(tmp_path):
    save(tmp_path / 'iter_1000.pth', meta=dict(iter=1000, samples_per_iter=4))
    newest = save(tmp_path / 'iter_600.pth', meta=dict(iter=600, samples_per_iter=16))
    assert latest_checkpoint(tmp_path) == newest


class Touch:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


def test_none_that_can_be_read_is_refused_and_runs_no_code(tmp_path):
    save(tmp_path / 'iter_3.pth', meta=Touch(tmp_path / 'owned'))
    (tmp_path / 'iter_6.pth').touch()
    torch.save(dict(state_dict={}), tmp_path / 'iter_9.pth')
    with pytest.raises(ValueError, match=r'iter_9.pth .*optimizer.*; iter_6.pth is empty; iter_3'):
        latest_checkpoint(tmp_path)
    assert not (tmp_path / 'owned').exists()


def test_code_of_a_checkpoint_runs_only_where_it_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'environ', os.environ.copy())
    path = str(tmp_path / 'foreign.pth')
    torch.save(dict(state_dict={}, more=Touch(tmp_path / 'owned')), path)
    for _ in range(2):  # each call sets it again
        set_trust(False)
        with pytest.raises(pickle.UnpicklingError):
            CheckpointLoader.load_checkpoint(path)
        assert not (tmp_path / 'owned').exists()
        set_trust(True)
        CheckpointLoader.load_checkpoint(path)['more'].close()
        (tmp_path / 'owned').unlink()


def test_a_checkpoint_that_fits_nothing_is_refused():
    model = tiny.u2pl()
    state = model.state_dict()
    student = {name: value for name, value in state.items() if not name.startswith('teacher.')}
    for training in (True, False):
        check_fits(model, dict(state_dict=student), training)
        check_fits(model, {f'module.{name}': value for name, value in student.items()}, training)
    backbone = {name: value for name, value in student.items() if name.startswith('backbone.')}
    check_fits(model, backbone, starts=True)  # fine-tuning
    heads = sum(name.startswith('decode_head.') for name in student)
    with pytest.raises(ValueError, match=rf'{heads} missing, such as decode_head\.'):
        check_fits(model, backbone, starts=False)
    with pytest.raises(ValueError, match='missing, such as backbone'):
        check_fits(model, dict(state_dict={'network.weight': torch.zeros(1)}), starts=True)
    half = {name: v for name, v in state.items() if not name.startswith('teacher.backbone.')}
    check_fits(model, half, starts=True)
    with pytest.raises(ValueError, match=r'missing, such as teacher\.backbone'):
        check_fits(model, half, starts=False)  # it predicts
    changed = dict(student, **{'decode_head.conv_seg.bias': torch.zeros(9)})
    with pytest.raises(ValueError, match=r'decode_head.conv_seg.bias: \(9,\) instead of \(3,\)'):
        check_fits(model, changed, starts=False)


def test_a_file_system_that_syncs_no_folders_is_no_error(tmp_path, monkeypatch):
    sync = os.fsync
    synced: list[None] = []

    def only_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, 'Invalid argument')
        synced.append(sync(descriptor))

    monkeypatch.setattr(os, 'fsync', only_files)
    AtomicBackend().put(b'new', tmp_path / 'file.pth')
    assert (tmp_path / 'file.pth').read_bytes() == b'new'
    assert len(synced) == 1


def test_a_resume_looks_where_checkpoints_are_written(tmp_path):
    """``out_dir`` of the hook has a folder of the work dir's name."""
    train = runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'train.py'))
    path = tmp_path / 'big/run/iter_6.pth'
    path.parent.mkdir(parents=True)
    torch.save(dict(state_dict={}, optimizer={}, meta={'iter': 6}), path)
    hook = dict(type='SafeCheckpointHook', out_dir=str(tmp_path / 'big'))
    cfg = Config(dict(work_dir=str(tmp_path / 'run'), default_hooks=dict(checkpoint=hook)))
    train['resume'](cfg)
    assert (cfg.resume, cfg.load_from) == (True, str(path))


def test_a_resume_takes_no_weights_of_another_network(data_root, tmp_path):
    runs.train(runs.runner(data_root, tmp_path, 3))
    names = dict(classes=('a', 'b'), palette=[[0, 0, 0], [1, 1, 1]])
    changes: dict = {'model.decode_head.num_classes': 2, 'resume': True}
    changes |= {f'{part}_dataloader.dataset.metainfo': names for part in ('val', 'test')}
    changes['train_dataloader.dataset.labeled.metainfo'] = names
    other = runs.runner(data_root, tmp_path, 6, load_from=str(tmp_path / 'iter_3.pth'), **changes)
    says = 'does not fit the network of the config', 'with another shape'
    tiny.assert_raises(ValueError, other.train, *says)


def test_a_training_that_has_ended_says_so(data_root, tmp_path):
    runs.train(runs.runner(data_root, tmp_path, 3))
    start = dict(load_from=str(tmp_path / 'iter_3.pth'), resume=True)
    runs.train(runs.runner(data_root, tmp_path, 2, **start))
    assert 'nothing is left to train: iteration 3 of 2' in runs.log_of(tmp_path)


def test_networks_that_are_not_used_are_named(monkeypatch):
    said = ''

    def note(text, **_):
        nonlocal said
        said += text

    monkeypatch.setattr(checkpoints, 'print_log', note)
    student = MODELS.build(dict(type='EncoderDecoder', **tiny.networks()))
    check_fits(student, student.state_dict(), starts=False)
    assert not said
    check_fits(student, tiny.u2pl().state_dict(), starts=False, name='iter_1.pth')
    assert 'iter_1.pth has a teacher that EncoderDecoder does not use' in said


@pytest.mark.parametrize(
    ('out_dir', 'expected'), [('s3://bucket/x', None), (None, dict(backend='AtomicBackend'))]
)
def test_what_goes_elsewhere_is_written_as_by_mmengine(out_dir, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(CheckpointHook, 'before_train', lambda *_: None)
    hook = checkpoints.SafeCheckpointHook(interval=1, out_dir=out_dir)
    monkeypatch.setattr(hook, 'file_backend', SimpleNamespace(remove=None), raising=False)
    hook.before_train(SimpleNamespace(work_dir=str(tmp_path)))
    assert hook.backend_args == expected
