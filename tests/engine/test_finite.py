"""A step that is not finite changes nothing; many in a row end the run with a reason."""

import copy
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import runs
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from runs import differing, log_of
from torch import nn

from mmseg_u2pl.engine import finite
from mmseg_u2pl.engine.optim import WRAPPERS, JointOptimizer
from mmseg_u2pl.models.parts.memory_bank import MemoryBank

PLAIN = {'train_dataloader.num_workers': 0, 'val_cfg': None, 'val_dataloader': None,
         'val_evaluator': None, 'default_hooks.checkpoint.save_best': None}  # fmt: skip


def state(runner):
    return copy.deepcopy(runner.model.state_dict())


class Spoil:
    """Spoils an iteration, and keeps the state around it."""

    def __init__(self, runner, at, how):
        self.states: dict[int, dict] = {}
        self.momentum: dict[int, list] = {}
        self.images: dict[int, list[str]] = {}
        train_step = runner.model.train_step

        def spoiled(data, optim_wrapper):
            iteration = runner.iter
            self.states[iteration] = state(runner)
            self.images[iteration] = [Path(s.img_path).name for s in data['data_samples']]
            slots = runner.optim_wrapper.optimizer.state.values()
            self.momentum[iteration] = [slot['momentum_buffer'].clone() for slot in slots]
            if iteration in at and how == 'pixel':
                data['inputs'] = [image.float() for image in data['inputs']]
                data['inputs'][0][:, 5, 5] = float('nan')
            handles = []
            if iteration in at and how == 'gradient':
                weight = next(p for p in runner.model.decode_head.parameters() if p.requires_grad)
                handles.append(weight.register_hook(lambda grad: grad * float('inf')))
            try:
                return train_step(data, optim_wrapper)
            finally:
                for handle in handles:
                    handle.remove()

        runner.model.train_step = spoiled


@pytest.mark.parametrize('at', [0, 3])
@pytest.mark.parametrize('how', ['pixel', 'gradient'])
def test_a_step_that_is_not_finite_changes_nothing(data_root, tmp_path, how, at):
    runner = runs.runner(data_root, tmp_path, 6, **PLAIN, **{'model.warmup_iters': 0})
    spoiled = Spoil(runner, {at}, how)
    runner.train()
    before, after = spoiled.states[at], spoiled.states[at + 1]
    changed = differing(before, after)
    # an infinite gradient comes after keys that are fine
    allowed = [] if how == 'pixel' else [name for name in before if '.bank.' in name]
    assert set(changed) <= set(allowed)
    assert {'backbone.conv1.weight', 'teacher.updates'} <= set(
        differing(after, spoiled.states[at + 2])
    )
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    log = log_of(tmp_path)
    assert log.count('the step is skipped') == 1
    assert f'iteration {at + 1}: not finite (' in log
    assert '.png' in log.split('the step is skipped. Images: ')[1].splitlines()[0]


def test_accumulated_gradients_are_skipped_together(data_root, tmp_path):
    """The first of two passes is spoiled: neither pass, nor what they left in buffers, counts."""
    steps = dict.fromkeys(('train_cfg.val_interval', 'default_hooks.checkpoint.interval'), 2)
    changes = {**PLAIN, **steps, 'optim_wrapper.accumulative_counts': 2, 'model.warmup_iters': 0}
    runner = runs.runner(data_root, tmp_path, 8, **changes)
    spoiled = Spoil(runner, {2}, 'pixel')
    runner.train()
    changed = set(differing(spoiled.states[2], spoiled.states[4]))
    assert changed == {name for name in changed if '.bank.' in name}  # keys of the second pass
    assert {'backbone.conv1.weight', 'backbone.bn1.running_mean'} <= set(
        differing(spoiled.states[4], runner.model.state_dict())
    )
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    (line,) = (
        line
        for line in next(tmp_path.glob('*/*.log')).read_text().splitlines()
        if 'the step is skipped' in line
    )
    assert 'iteration 4: not finite (' in line
    assert set(re.findall(r'\w+\.png', line)) == set(spoiled.images[2])


def test_the_momentum_is_left_alone(data_root, tmp_path):
    runner = runs.runner(data_root, tmp_path, 5, **PLAIN)
    momentum = Spoil(runner, {2}, 'gradient').momentum
    runner.train()
    assert len(momentum[2]) > 5
    assert all(map(torch.equal, momentum[2], momentum[3]))
    assert not all(map(torch.equal, momentum[3], momentum[4]))


def test_many_in_a_row_end_the_run_and_keep_the_checkpoint(data_root, tmp_path, monkeypatch):
    monkeypatch.setattr(finite, 'PATIENCE', 2)
    runner = runs.runner(data_root, tmp_path, 9, **PLAIN)
    Spoil(runner, range(4, 9), 'pixel')
    with pytest.raises(FloatingPointError, match=r'2 steps in a row .* lower the learning rate'):
        runner.train()
    assert runner.iter == 5
    saved = torch.load(tmp_path / 'iter_3.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in saved.values())


def test_weights_that_are_not_finite_are_refused(data_root, tmp_path):
    runs.runner(data_root, tmp_path, 3, **PLAIN).train()
    path = tmp_path / 'iter_3.pth'
    saved = torch.load(path, weights_only=True)
    saved['state_dict']['decode_head.conv_seg.bias'][0] = float('nan')
    torch.save(saved, path)
    other = runs.runner(data_root, tmp_path / 'other', 3, load_from=str(path), **PLAIN)
    with pytest.raises(FloatingPointError, match=r'decode_head.conv_seg.bias is not finite'):
        other.train()


def test_the_bank_takes_no_class_with_a_key_that_is_not_finite():
    bank = MemoryBank(2, size=4, channels=3)
    keys = torch.ones(2, 2, 3)
    keys[1, 0, 2] = float('nan')
    bank.push(keys, torch.tensor([2, 2]))
    assert bank.count.tolist() == [2, 0]
    assert bank.cursor.tolist() == [2, 0]
    assert bank.features[1].eq(0).all()


class Scaled(AmpOptimWrapper):
    """With a scaler that needs no GPU."""

    def __init__(self, optimizer):
        OptimWrapper.__init__(self, optimizer)
        self.loss_scaler, self._scale_update_param = torch.amp.GradScaler('cpu'), None


def test_a_scaler_that_skips_every_step_ends_the_run(monkeypatch):
    monkeypatch.setattr(finite, 'OVERFLOWS', 3)
    model = torch.nn.Linear(1, 1, bias=False)
    wrapper = Scaled(torch.optim.SGD(model.parameters(), lr=1.0))
    guard = finite.FiniteGuard(SimpleNamespace(model=model, optim_wrapper=wrapper))
    for number in range(3):
        guard.remember()
        wrapper.backward(model.weight.sum())  # finite
        model.weight.grad = torch.full_like(model.weight, float('inf'))
        wrapper.step()
        assert not guard.skipped
        if number < 2:
            assert guard.after_iter(None, {}, {})
    with pytest.raises(FloatingPointError, match=r'3 steps in a row, at any loss scale'):
        guard.after_iter(None, {}, {})


def test_a_large_scale_is_no_overflow():
    model = torch.nn.Linear(1, 2, bias=False)
    wrapper = Scaled(torch.optim.SGD(model.parameters(), lr=0.0))
    guard = finite.FiniteGuard(SimpleNamespace(model=model, optim_wrapper=wrapper))
    guard.remember()
    wrapper.backward(model.weight.sum())
    model.weight.grad = torch.full_like(model.weight, 3e19)  # its square is not finite
    wrapper.step()
    assert not guard.after_iter(None, {}, {})


def test_a_discriminators_gradient_counts():
    model = torch.nn.Module()
    model.network, model.disc = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    parts = {
        name: torch.optim.SGD(part.parameters(), lr=1.0) for name, part in model.named_children()
    }
    wrapper = WRAPPERS['OptimWrapper'](JointOptimizer(parts))
    guard = finite.FiniteGuard(SimpleNamespace(model=model, optim_wrapper=wrapper))
    before = copy.deepcopy(model.state_dict())
    for name, p in model.named_parameters():
        p.grad = torch.full_like(p, float('nan') if name == 'disc.weight' else 1.0)
    wrapper.step()
    assert guard.skipped
    assert differing(before, model.state_dict()) == []


class Replaces(nn.Module):
    """Puts another tensor in the place of its buffer in each pass, as EMAHead does."""

    mean: torch.Tensor

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.register_buffer('mean', torch.zeros(1))
        self.register_buffer('mask', torch.tensor([-torch.inf, 0.0]))

    def forward(self, x):
        self.mean = 0.5 * self.mean + 0.5 * x.detach()
        return self.layer(x) + self.mean


def test_a_buffer_that_is_replaced_comes_back():
    model = Replaces()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    guard = finite.FiniteGuard(SimpleNamespace(model=model, optim_wrapper=wrapper))
    for value, mean in ((2.0, 1.0), (float('nan'), 1.0), (3.0, 2.0)):
        guard.remember()
        wrapper.update_params(model(torch.tensor([value])).sum())
        assert guard.skipped is (value != value)
        assert model.mean.item() == mean
