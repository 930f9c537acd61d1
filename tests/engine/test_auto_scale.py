"""A config on other numbers of processes: the same samples a step, steps and learning rates."""

import copy
from pathlib import Path

import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import PARAM_SCHEDULERS

from mmseg_u2pl.engine.auto_scale import Change, auto_scale, describe, launched_processes

CONFIGS = Path(__file__).parents[2] / 'configs'
VOC = CONFIGS / 'u2pl/u2pl_r101-d8_voc12-513x513.py'
RRN = CONFIGS / 'rrn/rrn_r50-d16_voc12-512x512.py'


def original_config(base=16, batch_size=4, **changes):
    """What ``auto_scale`` reads of a config; dotted ``changes`` are merged in."""
    cfg = Config(
        dict(
            auto_scale_lr=dict(base_batch_size=base),
            train_dataloader=dict(batch_size=batch_size),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=30, val_interval=10),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, end=10, by_epoch=False),
                dict(type='PolyLR', power=0.9, eta_min=0.01, end=30, by_epoch=False),
            ],
            model=dict(warmup_iters=6),
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=15),
                logger=dict(type='LoggerHook', interval=5),
            ),
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


def scaled(world_size, **changes):
    """The config after ``auto_scale``."""
    cfg = original_config(**changes)
    auto_scale(cfg, world_size)
    return cfg


def test_a_config_for_four_gpus_runs_on_one():
    cfg = Config.fromfile(VOC)
    assert set(auto_scale(cfg, 1)) == {
        Change('train_cfg.max_iters', 45_600, 182_400),
        Change('train_cfg.val_interval', 4560, 18_240),
        Change('model.warmup_iters', 570, 2280),
        Change('default_hooks.checkpoint.interval', 4560, 18_240),
        Change('optim_wrapper.accumulative_counts', 1, 4),
        Change('auto_scale_lr.base_batch_size', 32, 8),
    }
    assert cfg.train_cfg.max_iters == 182_400
    assert 'end' not in cfg.param_scheduler[0]  # the schedule ends with the training
    assert cfg.optim_wrapper.accumulative_counts == 4
    assert cfg.optim_wrapper.optimizer.lr == 0.001
    assert cfg.default_hooks.logger.interval == 50


def test_the_number_of_processes_of_the_config_changes_nothing():
    cfg = Config.fromfile(VOC)
    before = copy.deepcopy(cfg.to_dict())
    assert auto_scale(cfg, 4) == []
    assert cfg.to_dict() == before


def test_more_processes_train_shorter_at_higher_rates():
    cfg = Config.fromfile(VOC)
    auto_scale(cfg, 8)
    assert cfg.optim_wrapper.optimizer.lr == 0.002
    assert cfg.optim_wrapper.accumulative_counts == 1
    assert (cfg.train_cfg.max_iters, cfg.model.warmup_iters) == (22_800, 285)
    assert scaled(8).param_scheduler[1].eta_min == 0.02


def test_more_processes_need_not_be_a_multiple():
    cfg = scaled(6)  # 24 samples where the config has 16
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.15)
    assert cfg.train_cfg.max_iters == 20
    assert cfg.default_hooks.checkpoint.interval == 10
    assert cfg.param_scheduler[0].end == 7  # of 6.67


def test_both_optimizers_and_both_warm_ups_of_rrn():
    cfg = Config.fromfile(RRN)
    auto_scale(cfg, 1)
    assert cfg.optim_wrapper.accumulative_counts == 2
    assert cfg.model.selftrain_warmup_iters == 3038
    assert (cfg.param_scheduler[0].end, cfg.train_cfg.max_iters) == (30_380, 106_330)
    assert cfg.optim_wrapper.discriminator_optimizer.lr == 1e-4
    for written in (True, False):
        cfg = Config.fromfile(RRN)
        if not written:
            del cfg.optim_wrapper['discriminator_optimizer']
        auto_scale(cfg, 4)
        assert cfg.optim_wrapper.optimizer.lr == 0.005
        assert cfg.optim_wrapper.discriminator_optimizer == dict(
            type='Adam', lr=2e-4, betas=(0.9, 0.99)
        )


@pytest.mark.parametrize('world_size', [1, 2, 4])
def test_scaling_twice_is_scaling_once_and_there_is_a_way_back(world_size):
    original = original_config(**{'optim_wrapper.accumulative_counts': 1}).to_dict()
    cfg = Config(copy.deepcopy(original))
    auto_scale(cfg, world_size)
    once = copy.deepcopy(cfg.to_dict())
    assert auto_scale(cfg, world_size) == []
    assert cfg.to_dict() == once
    auto_scale(cfg, 4)
    assert cfg.to_dict() == original


@pytest.mark.parametrize(
    ('world_size', 'counts', 'max_iters', 'rate'), [(1, 8, 120, 1), (8, 1, 15, 1), (16, 1, 8, 2)]
)
def test_a_config_that_accumulates_already(world_size, counts, max_iters, rate):
    cfg = scaled(world_size, **{'optim_wrapper.accumulative_counts': 2})  # 32 samples a step
    assert cfg.optim_wrapper.accumulative_counts == counts
    assert cfg.train_cfg.max_iters == max_iters
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.1 * rate)


def test_every_length_of_a_model_is_stretched():
    cfg = scaled(1, **{'model.rampup_iters': 5, 'model.low_rank': 3})
    assert cfg.model == dict(warmup_iters=24, rampup_iters=20, low_rank=3)


def test_a_smaller_batch_accumulates_too():
    assert scaled(4, batch_size=1).optim_wrapper.accumulative_counts == 4


def test_what_is_not_in_iterations_or_never_happens_stays():
    epochs = [dict(type='ExponentialLR', gamma=0.9, by_epoch=True)]
    hook = dict(type='CheckpointHook', by_epoch=False, interval=-1)
    cfg = scaled(
        1,
        **{'param_scheduler': epochs, 'default_hooks.checkpoint': hook, 'model.warmup_iters': 0},
    )
    assert cfg.param_scheduler == epochs
    assert cfg.default_hooks.checkpoint.interval == -1
    assert cfg.model.warmup_iters == 0


def test_several_numbers_in_a_setting_and_a_scheduler_alone():
    cfg = original_config(**{'train_cfg.dynamic_intervals': [(0, 6), (8, 2)]})
    cfg.param_scheduler = dict(type='MultiStepLR', milestones=[5, 9], by_epoch=False)
    changes = auto_scale(cfg, 1)
    assert Change('param_scheduler.milestones', [5, 9], [20, 36]) in changes
    assert cfg.param_scheduler.milestones == [20, 36]
    assert cfg.train_cfg.dynamic_intervals == [[0, 24], [32, 8]]


def train(cfg, world_size, schedule):
    """Train a regression on one stream of samples as ``world_size`` processes would.

    Returns the learning rate at each optimizer step and the weights after all.
    """
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedulers = [
        PARAM_SCHEDULERS.build({**step, 'optimizer': wrapper})
        for step in (cfg.param_scheduler if schedule else [])
    ]
    wrapper.initialize_count_status(model, 0, cfg.train_cfg.max_iters)
    generator = torch.Generator().manual_seed(1)
    rates = []
    for _ in range(cfg.train_cfg.max_iters):
        samples = torch.randn(world_size * cfg.train_dataloader.batch_size, 4, generator=generator)
        wrapper.update_params((model(samples[:, :3]) - samples[:, 3:]).square().mean())
        if wrapper.should_update():
            rates.append(wrapper.get_lr()['lr'][0])
        for scheduler in schedulers:
            scheduler.step()
    return rates, model.weight.detach()


@pytest.mark.parametrize('world_size', [1, 2])
def test_as_many_steps_on_the_same_samples_give_the_same_weights(world_size):
    original, weights = train(original_config(), 4, schedule=False)
    rates, other = train(scaled(world_size), world_size, schedule=False)
    assert rates == original
    assert len(rates) == 30
    torch.testing.assert_close(other, weights)


def test_the_rates_of_the_steps_stay():
    original, _ = train(original_config(), 4, schedule=True)
    rates, _ = train(scaled(1), 1, schedule=True)
    assert len(rates) == len(original) == 30
    # a step happens at the last of its iterations: at most one step ahead of the curve
    ahead = [*original[1:], original[-1]]
    for rate, here, there in zip(rates, original, ahead, strict=True):
        low, high = sorted((here, there))
        assert low - 1e-3 < rate < high + 1e-3


def test_linear_scaling_stretches_the_curve():
    original, _ = train(original_config(), 4, schedule=True)
    rates, _ = train(scaled(8), 8, schedule=True)
    assert len(rates) == 15
    assert max(rates) == pytest.approx(2 * max(original), rel=0.05)
    assert rates[-1] == pytest.approx(0.02)
    assert original[-1] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ('world_size', 'changes', 'says'),
    [
        (3, {}, ('3 processes', 'batch_size=4', '12 samples', '16 samples', 'use 1, 2, 4 pro')),
        (1, {'train_dataloader.batch_size': 5}, ('5 samples', '16 samples', '1-fold divides 16')),
        (1, {'auto_scale_lr': {}}, ('add auto_scale_lr = dict(base_batch_size=N)',)),
        (1, {'auto_scale_lr.enable': True}, ('auto_scale_lr.enable=True',)),
        (
            1,
            {'param_scheduler': [dict(type='ExponentialLR', gamma=0.9, by_epoch=False)]},
            ("param_scheduler.0.type='ExponentialLR'", 'PolyLR'),
        ),
        (8, {'optim_wrapper.optimizer': dict(_delete_=True, type='SGD')}, ('optimizer has no lr',)),
        (1, {'train_cfg': dict(_delete_=True, by_epoch=True)}, ('IterBasedTrainLoop',)),
    ],
)
def test_what_cannot_be_scaled_is_named(world_size, changes, says):
    cfg = original_config(**changes)
    if changes == {'auto_scale_lr': {}}:
        cfg.auto_scale_lr = {}
    tiny.assert_raises(ValueError, lambda: auto_scale(cfg, world_size), *says)


def test_each_change_has_a_line():
    text = describe(auto_scale(original_config(), 2))
    assert '\n  optim_wrapper.accumulative_counts: 1 -> 2' in text
    assert '\n  train_cfg.max_iters: 30 -> 60' in text
    assert len(text.splitlines()) == 9
    assert 'written for this many samples' in describe([])


@pytest.mark.parametrize(
    ('launcher', 'variable'),
    [('pytorch', 'WORLD_SIZE'), ('slurm', 'SLURM_NTASKS'), ('mpi', 'OMPI_COMM_WORLD_SIZE')],
)
def test_processes_are_counted_before_they_are_connected(launcher, variable, monkeypatch):
    monkeypatch.setenv(variable, '3')
    assert launched_processes(launcher) == 3
    assert launched_processes('none') == 1
