"""Where a run stands when another number of samples makes an iteration; whole runs of several
processes are in ``tests/distributed``."""

import copy
import logging
from types import SimpleNamespace

import pytest
import tiny
import torch
from mmengine.optim import PolyLR, build_optim_wrapper

from mmseg_u2pl.engine import ResumeBatchHook
from mmseg_u2pl.engine.checkpoints import SAMPLES


def runner_of(batch_size=4, world_size=1, base=None, counts=1, resume=True, **settings):
    """What the hook looks at, of a run with ``world_size`` x ``batch_size`` samples."""
    return SimpleNamespace(
        **{
            'world_size': world_size,
            'train_dataloader': SimpleNamespace(batch_size=batch_size, sampler=None),
            'auto_scale_lr': None if base is None else dict(base_batch_size=base),
            'optim_wrapper': SimpleNamespace(_accumulative_counts=counts, state_dict=dict),
            'param_schedulers': None,
            'max_iters': 40,
            'logger': logging.getLogger('test'),
            '_resume': resume,
            **settings,
        }
    )


def checkpoint_of(iteration, samples):
    return dict(meta={'iter': iteration, SAMPLES: samples})


def test_a_checkpoint_says_what_an_iteration_was():
    checkpoint: dict = dict(meta={})
    ResumeBatchHook().before_save_checkpoint(runner_of(4, 3), checkpoint)
    assert checkpoint['meta'] == {SAMPLES: 12, 'max_iters': 40, 'sampler_seed': None}


@pytest.mark.parametrize(
    ('iteration', 'before', 'now', 'counts', 'expected'),
    [
        (3, 32, 8, 4, 12),  # four processes go on as one
        (12, 8, 32, 1, 3),  # and one as four
        (6, 8, 16, 2, 2),  # the second two of four accumulated are lost, and taken again
        (7, 4, 12, 1, 2),  # 28 samples are two iterations of 12
        (0, 4, 12, 1, 0),
    ],
)
def test_as_many_samples_were_seen(iteration, before, now, counts, expected, caplog):
    checkpoint = checkpoint_of(iteration, before)
    with caplog.at_level(logging.INFO, 'test'):
        ResumeBatchHook().after_load_checkpoint(runner_of(now, base=now, counts=counts), checkpoint)
    assert checkpoint['meta']['iter'] == expected
    assert f'iteration {iteration} is {expected} here' in caplog.text


@pytest.mark.parametrize(
    ('checkpoint', 'settings'),
    [
        (checkpoint_of(3, 4), {}),  # the same number
        (
            checkpoint_of(3, 8),
            dict(resume=False, train_dataloader=None),
        ),  # a test, or weights alone
        (dict(meta={'iter': 3}), {}),  # of a version, or of code, that does not say
        (dict(state_dict={}), {}),
    ],
)
def test_everything_else_is_left_alone(checkpoint, settings):
    before = copy.deepcopy(checkpoint)
    ResumeBatchHook().after_load_checkpoint(runner_of(**settings), checkpoint)
    assert checkpoint == before


@pytest.mark.parametrize(('base', 'says'), [(8, 'for 8'), (None, 'for an unknown number')])
def test_a_config_for_another_number_is_refused(base, says):
    runner = runner_of(4, 3, base=base)
    tiny.assert_raises(
        ValueError,
        lambda: ResumeBatchHook().after_load_checkpoint(runner, checkpoint_of(3, 8)),
        'trained on 8 samples an iteration',
        '3 processes with train_dataloader.batch_size=4 see 12',
        says,
        'resume with tools/train.py --auto-scale',
    )


@pytest.mark.parametrize(('base', 'warns'), [(8, True), (4, False), (None, False)])
def test_a_new_run_with_another_number_is_warned(base, warns, caplog):
    ResumeBatchHook().before_train(runner_of(4, base=base))
    assert ('written for 8 samples' in caplog.text) == warns
    assert ('--auto-scale' in caplog.text) == warns


class Adversarial(torch.nn.Module):
    """One number each for the network and the discriminator."""

    def __init__(self):
        super().__init__()
        self.network = torch.nn.Linear(1, 1, bias=False)
        self.discriminators = torch.nn.ModuleList([torch.nn.Linear(1, 1, bias=False)])


def optimizers(scale, end):
    """A wrapper of both optimizers, and the segmentors' schedule."""
    model = Adversarial()
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            constructor='SemiOptimWrapperConstructor',
            optimizer=dict(type='SGD', lr=0.1 * scale, momentum=0.9),
            discriminator_optimizer=dict(type='Adam', lr=0.01 * scale),
        ),
    )
    return model, wrapper, [PolyLR(wrapper, power=1.0, end=end, by_epoch=False)]


def test_rates_are_the_configs_and_momenta_the_checkpoints():
    model, wrapper, schedulers = optimizers(scale=1, end=13)
    for _ in range(6):
        wrapper.update_params(sum(p.sum() for p in model.parameters()))
        schedulers[0].step()
    saved = wrapper.state_dict()
    checkpoint = copy.deepcopy(
        dict(**checkpoint_of(6, 4), optimizer=saved, param_schedulers=[schedulers[0].state_dict()])
    )

    _, wrapper, schedulers = optimizers(scale=2, end=7)
    runner = runner_of(8, base=8, param_schedulers=schedulers, optim_wrapper=wrapper)
    ResumeBatchHook().after_load_checkpoint(runner, checkpoint)
    assert checkpoint['meta']['iter'] == 3
    wrapper.load_state_dict(checkpoint['optimizer'])
    schedulers[0].load_state_dict(checkpoint['param_schedulers'][0])
    segmentors, discriminators = wrapper.optimizer.parts.values()
    assert segmentors.param_groups[0]['lr'] == pytest.approx(0.2 * 3 / 6)
    assert segmentors.param_groups[0]['initial_lr'] == 0.2
    assert discriminators.param_groups[0]['lr'] == 0.02
    # 1 + 0.9 + ... of six gradients of 1
    momentum = (1 - 0.9**6) / 0.1
    assert segmentors.state_dict()['state'][0]['momentum_buffer'].item() == pytest.approx(momentum)
    assert discriminators.state_dict()['state'][0]['step'] == 6
    schedulers[0].step()
    assert segmentors.param_groups[0]['lr'] == pytest.approx(0.2 * 2 / 6)
