"""A run that is resumed on another number of processes continues with the next sample."""

from itertools import chain
from typing import NamedTuple

import pytest
import runs
import torch
from mmengine.hooks import Hook

from mmseg_u2pl.cli import build_runner
from mmseg_u2pl.engine.auto_scale import auto_scale

LR, POWER = 0.05, 0.9


class Seen(NamedTuple):
    """What a run, or one process of it, did."""

    start: int
    paths: list[list[str]]  # of each iteration's images
    rates: list[float]  # at each optimizer step
    updates: int  # of the teacher
    lost: list[str]  # state that was not the checkpoint's at the start


class Watch(Hook):
    """Look at samples, learning rates and what was resumed."""

    def __init__(self, checkpoint=None):
        self.checkpoint = checkpoint
        self.paths, self.rates, self.lost = [], [], []

    def before_train(self, runner):
        self.start = runner.iter
        if self.checkpoint is None:
            return
        saved = torch.load(self.checkpoint, weights_only=False)
        model = getattr(runner.model, 'module', runner.model)
        state = {k: v for k, v in model.state_dict().items() if k in saved['state_dict']}
        assert set(state) == set(saved['state_dict'])
        now = runner.optim_wrapper.state_dict()['state']
        for key, parameter in saved['optimizer']['state'].items():
            state[f'momentum {key}'] = now[key]['momentum_buffer']
            saved['state_dict'][f'momentum {key}'] = parameter['momentum_buffer']
        assert any(key.startswith('contrastive.bank') for key in state)
        assert len(now) > 0
        self.lost = [k for k, v in state.items() if not torch.equal(v, saved['state_dict'][k])]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.paths.append([sample.img_path for sample in data_batch['data_samples']])
        if runner.optim_wrapper.should_update():
            self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])


def run(rank, cfg):
    """Train, in one process or in several together."""
    watch = Watch(cfg.load_from)
    runner = build_runner(cfg)
    runner.register_hook(watch)
    runner.train()
    model = getattr(runner.model, 'module', runner.model)
    return Seen(watch.start, watch.paths, watch.rates, int(model.teacher.updates), watch.lost)


def config(root, folder, base, max_iters, **changes):
    return runs.config(
        root,
        folder,
        max_iters,
        **{
            'auto_scale_lr': dict(base_batch_size=base),
            'default_hooks.resume_batch': dict(type='ResumeBatchHook'),
            'default_hooks.checkpoint.interval': max_iters // 2,
            'default_hooks.checkpoint.save_best': None,
            'train_cfg.val_begin': 1000,
            **changes,
        },
    )


def train(cfg, world_size, together):
    """What each process saw."""
    cfg.launcher = 'none' if world_size == 1 else 'pytorch'
    return [run(0, cfg)] if world_size == 1 else together(world_size, run, cfg)


def images(seen, iterations):
    """Those that all processes took together in every so many iterations, in no order."""
    steps = [list(chain(*parts)) for parts in zip(*(own.paths for own in seen), strict=True)]
    return [sorted(chain(*steps[i : i + iterations])) for i in range(0, len(steps), iterations)]


def test_two_processes_continue_as_one(data_root, tmp_path, together):
    whole = train(config(data_root, tmp_path / 'two', 8, 6), 2, together)
    assert whole[0].start == 0

    cfg = config(data_root, tmp_path / 'one', 8, 6)
    cfg.merge_from_dict(dict(load_from=str(tmp_path / 'two/iter_3.pth'), resume=True))
    auto_scale(cfg, 1)
    (resumed,) = train(cfg, 1, together)
    assert resumed.start == 6
    assert resumed.lost == []
    assert images([resumed], 2) == images(whole, 1)[3:]
    assert resumed.updates == whole[0].updates == 6
    # a curve of 12 points where there were 6, at the second of each two
    expected = [LR * (1 - t / 11) ** POWER for t in (7, 9, 11)]
    assert resumed.rates == pytest.approx(expected)
    assert whole[0].rates == pytest.approx([LR * (1 - t / 5) ** POWER for t in range(6)])


def test_one_process_continues_as_three(data_root, tmp_path, together):
    whole = train(config(data_root, tmp_path / 'one', 4, 12), 1, together)

    cfg = config(data_root, tmp_path / 'three', 4, 12)
    cfg.merge_from_dict(dict(load_from=str(tmp_path / 'one/iter_6.pth'), resume=True))
    auto_scale(cfg, 3)  # a larger batch: a third of the iterations at thrice the rate
    resumed = train(cfg, 3, together)
    assert [own.start for own in resumed] == [2, 2, 2]
    assert [own.lost for own in resumed] == [[], [], []]
    assert images(resumed, 1) == images(whole, 3)[2:]
    expected = [3 * LR * (1 - t / 3) ** POWER for t in (2, 3)]
    assert resumed[0].rates == pytest.approx(expected)


def test_another_number_is_refused_without_auto_scale(data_root, tmp_path, together):
    train(config(data_root, tmp_path / 'one', 4, 2), 1, together)
    cfg = config(data_root, tmp_path / 'two', 4, 2)
    cfg.merge_from_dict(dict(load_from=str(tmp_path / 'one/iter_1.pth'), resume=True))
    with pytest.raises(ValueError, match=r'2 processes .* see 8, .* written for 4: .*--auto'):
        train(cfg, 2, together)
