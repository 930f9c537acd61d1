"""Configs that used to go wrong silently, in whole runs."""

import shutil
import uuid
from argparse import Namespace

import numpy as np
import pytest
import runs
import tiny
import torch
from mmengine.hooks import Hook
from mmengine.runner import save_checkpoint
from mmseg.registry import HOOKS, MODELS

from mmseg_u2pl.cli import build_runner, load_config
from mmseg_u2pl.engine.checkpoints import SafeCheckpointHook

CALLED: list[int] = []


@HOOKS.register_module(force=True)
class NoteIteration(Hook):
    """A hook of a user's."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        CALLED.append(runner.iter)


def leaf(root, folder, text, **changes):
    """The runner of a config of a few lines, as our tools build it."""
    changes = {'default_hooks.checkpoint.save_best': None, **changes}
    base = runs.config(root, folder, 3, **changes)
    base.dump(folder / 'base.py')
    path = folder / 'leaf.py'
    path.write_text("_base_ = './base.py'\n" + text)
    arguments = Namespace(
        config=str(path), data=None, split=None, iters=None, cfg_options=None,
        trust_checkpoint=False, local_rank=0, launcher='none', work_dir=str(folder),
    )  # fmt: skip
    cfg = load_config(arguments)
    cfg.experiment_name = cfg.visualizer.name = uuid.uuid4().hex
    return build_runner(cfg)


# ------------------------------------------------------------------------------- hooks
def test_a_leafs_lists_of_hooks_and_imports_remove_nothing(data_root, tmp_path):
    """``custom_hooks`` and ``custom_imports`` are lists: those of a child replace the base's."""
    CALLED.clear()
    runner = leaf(
        data_root, tmp_path,
        "custom_hooks = [dict(type='NoteIteration')]\n"
        "custom_imports = dict(imports=['json'], allow_failed_imports=False)\n",
    )  # fmt: skip
    runner.train()
    assert CALLED == [0, 1, 2]
    assert runner.model.teacher.updates == 3  # a warm-up of 1, a copy, two averages
    weights = [
        network.decode_head.conv_seg.weight for network in (runner.model, runner.model.teacher)
    ]
    assert not torch.equal(*weights)


# --------------------------------------------------------------------------- fine-tuning
@pytest.fixture(scope='module')
def first_run(data_root, tmp_path_factory):
    """A finished run, whose teacher and bank are full of it; its checkpoint."""
    folder = tmp_path_factory.mktemp('first')
    changes = {'default_hooks.checkpoint.save_best': None, 'train_cfg.val_begin': 100}
    runs.runner(data_root, folder, 3, **changes).train()
    path = folder / 'iter_3.pth'
    state = torch.load(path, weights_only=False)['state_dict']
    assert state['teacher.updates'] == 3
    assert state['contrastive.bank.count'].sum() > 0
    return path


class Start(Hook):
    """The state before the first step, after every hook's ``before_train_iter``."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.started = runner.model.teacher.started
        self.state = {name: value.clone() for name, value in runner.model.state_dict().items()}


def train_from(path, root, folder, max_iters, **changes):
    start = Start()
    changes = {
        'default_hooks.checkpoint.save_best': None, 'train_cfg.val_begin': 100,
        'load_from': str(path), **changes,
    }  # fmt: skip
    runner = runs.runner(root, folder, max_iters, **changes)
    runner.register_hook(start)
    runner.train()
    return runner, start


def test_fine_tuning_starts_teacher_bank_and_shares_again(first_run, data_root, tmp_path):
    runner, start = train_from(first_run, data_root, tmp_path, 2)
    assert not start.started
    assert start.state['teacher.updates'] == 0
    assert not start.state['contrastive.bank.count'].any()
    saved = torch.load(first_run, weights_only=False)['state_dict']
    assert torch.equal(start.state['backbone.conv1.weight'], saved['backbone.conv1.weight'])
    assert runner.model.teacher.updates == 2  # a warm-up of 1, a copy, one average


def test_a_resumed_run_keeps_them(first_run, data_root, tmp_path):
    runner, start = train_from(first_run, data_root, tmp_path, 4, resume=True)
    assert start.started
    saved = torch.load(first_run, weights_only=False)['state_dict']
    for name, value in saved.items():
        assert torch.equal(start.state[name], value), name
    assert runner.model.teacher.updates == 4


def test_fine_tuning_to_another_number_of_classes(data_root, tmp_path):
    """What does not fit is left out by mmengine; the teacher is the new student."""
    torch.manual_seed(3)
    model = tiny.u2pl(num_classes=5)
    model.teacher.update(model)
    path = tmp_path / 'five.pth'
    save_checkpoint(dict(state_dict=model.state_dict(), meta={}), str(path))
    runner, start = train_from(path, data_root, tmp_path / 'run', 2)
    assert torch.equal(start.state['backbone.conv1.weight'], model.backbone.conv1.weight)
    assert start.state['decode_head.conv_seg.weight'].shape[0] == 3
    assert runner.model.teacher.updates == 2
    teacher, student = runner.model.teacher, runner.model
    gap = (teacher.decode_head.conv_seg.weight - student.decode_head.conv_seg.weight).abs().max()
    assert gap < 0.1  # half a step apart, not another network


def test_a_run_of_u2pl_starts_from_a_supervised_checkpoint(data_root, tmp_path):
    torch.manual_seed(1)
    plain = MODELS.build(dict(type='EncoderDecoder', **tiny.networks()))
    path = tmp_path / 'supervised.pth'
    save_checkpoint(dict(state_dict=plain.state_dict(), meta={}), str(path))
    changes = {'default_hooks.checkpoint.save_best': None, 'load_from': str(path)}
    runner = runs.runner(data_root, tmp_path / 'run', 1, **changes)
    scores = runner.test()
    for name in ('mIoU', 'IoU.red', 'IoU.green', 'IoU.blue'):
        assert np.array_equal(scores[f'teacher/{name}'], scores[f'student/{name}'], equal_nan=True)
    assert 'it is a copy of the student' in runs.log_of(tmp_path / 'run')


# --------------------------------------------------------------------------- every method
@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        ('FixMatch', dict(view=dict(type='PhotometricView'))),
        ('FixMatch', tiny.BALANCED),
        ('MeanTeacher', {}),
        ('UniMatch', dict(view=dict(type='PhotometricView'))),
        ('UniMatchV2', dict(contrastive={})),
    ],
    ids=['FixMatch', 'FixMatch, balanced', 'Mean Teacher', 'UniMatch', 'UniMatch V2'],
)
def test_a_resumed_run_equals_the_uninterrupted_one(kind, settings, data_root, tmp_path):
    preprocessor = runs.settings(data_root, 4)['model']['data_preprocessor']
    model = tiny.semi_config(kind, data_preprocessor=preprocessor, warmup_iters=1, **settings)
    states = []
    for folder in ('whole', 'resumed'):
        changes: dict = {
            'model': dict(_delete_=True, **model),
            'default_hooks.checkpoint.save_best': None,
            'default_hooks.checkpoint.interval': 2,
            'train_cfg.val_begin': 100,
        }
        if folder == 'resumed':
            changes |= dict(load_from=str(tmp_path / 'whole/iter_2.pth'), resume=True)
            torch.manual_seed(12345)  # what came before must not matter
        runner = runs.runner(data_root, tmp_path / folder, 4, **changes)
        runner.train()
        states.append(runner.model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


# ------------------------------------------------------------------------------- what a resume continues
class Stopped(BaseException):
    """A kill."""


class Stop(Hook):
    """Kill the run in the validation at an iteration, after its first image."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.iteration:
            raise Stopped


@pytest.mark.parametrize('at', [3, 6])
def test_a_validation_that_was_cut_off_is_repeated(data_root, tmp_path, at):
    """Its checkpoint is there, its scores are not."""
    whole = runs.train(runs.runner(data_root, tmp_path / 'whole'))
    run = runs.runner(data_root, tmp_path / 'cut')
    run.register_hook(Stop(at))
    with pytest.raises(Stopped):
        run.train()
    start = dict(resume=True, load_from=str(tmp_path / f'cut/iter_{at}.pth'))
    again = runs.train(runs.runner(data_root, tmp_path / 'cut', **start))
    for iteration in range(at, 7, 3):
        scores = whole.metrics[iteration]
        assert {key: again.metrics[iteration][key] for key in scores} == scores
    best = [path.name for path in (tmp_path / 'whole').glob('best_*')]
    assert [path.name for path in (tmp_path / 'cut').glob('best_*')] == best

    start['load_from'] = str(tmp_path / 'cut/iter_6.pth')
    assert runs.train(runs.runner(data_root, tmp_path / 'cut', **start)).metrics == {}


def test_a_longer_training_follows_its_own_schedule(data_root, tmp_path):
    """The saved one has ended at the rate 0, as this one does with its last step."""
    runs.train(runs.runner(data_root, tmp_path))
    start = dict(resume=True, load_from=str(tmp_path / 'iter_6.pth'))
    longer = runs.runner(data_root, tmp_path, 12, **start)
    rates = Rates()
    longer.register_hook(rates)
    longer.train()
    expected = [0.05 * (1 - done / 11) ** 0.9 for done in range(6, 12)]
    assert rates.values == pytest.approx(expected, rel=1e-6)
    saved = [runs.load(tmp_path / f'iter_{n}.pth')['state_dict'] for n in (6, 12)]
    assert 'decode_head.conv_seg.weight' in runs.differing(*saved)
    assert 'max_iters=12 instead of 6' in runs.log_of(tmp_path)


class Rates(Hook):
    """Learning rates of the steps."""

    def __init__(self):
        self.values = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.values.append(runner.optim_wrapper.get_lr()['lr'][0])


def test_a_copy_of_a_work_dir_leaves_the_original_alone(data_root, tmp_path):
    runs.train(runs.runner(data_root, tmp_path / 'one', 3))
    (best,) = (tmp_path / 'one').glob('best_*.pth')
    shutil.copytree(tmp_path / 'one', tmp_path / 'two')
    start = dict(resume=True, load_from=str(tmp_path / 'two/iter_3.pth'))
    # of the copy, whatever is the best afterwards
    copied = runs.train(runs.runner(data_root, tmp_path / 'two', 6, **start)).runner
    assert best.is_file()
    (kept,) = (tmp_path / 'two').glob('best_*.pth')
    assert copied.message_hub.get_info('best_ckpt') in (str(best), str(kept))
    (hook,) = (each for each in copied.hooks if isinstance(each, SafeCheckpointHook))
    assert hook.best_ckpt_path == str(kept)


@pytest.mark.parametrize(
    'changes',
    [
        {'train_cfg.val_interval': 2, 'train_cfg.dynamic_intervals': [(4, 4)]},
        {'default_hooks.timer': None, 'train_cfg.val_interval': 2},
    ],
    ids=['intervals change', 'no times'],
)
def test_a_validation_that_was_not_cut_off_is_not_repeated(data_root, tmp_path, changes):
    changes = {**changes, 'default_hooks.checkpoint.interval': 2}
    whole = runs.train(runs.runner(data_root, tmp_path, 8, **changes))
    start = dict(resume=True, load_from=str(tmp_path / 'iter_6.pth'))
    again = runs.train(runs.runner(data_root, tmp_path, 8, **changes, **start))
    assert list(again.metrics) == [8]
    assert 8 in whole.metrics
