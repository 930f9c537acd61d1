"""The optimizers of networks and discriminators: who gets which, one backward, one scaler."""

import copy
from types import SimpleNamespace

import cross
import pytest
import tiny
import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper, PolyLR, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

CONSTRUCTOR = 'SemiOptimWrapperConstructor'
SGD = dict(type='SGD', lr=0.1, momentum=0.9)
ADAM = dict(type='Adam', lr=0.01, betas=(0.9, 0.99))


class Pair(nn.Module):
    """A network of one number and a discriminator of one number."""

    def __init__(self):
        super().__init__()
        self.network = nn.Linear(1, 1, bias=False)
        self.discriminators = nn.ModuleList([nn.Linear(1, 1, bias=False)])
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(1.0)

    def loss(self, network=1.0, discriminator=1.0):
        return network * self.network.weight.sum() + discriminator * self.d.sum()

    @property
    def d(self):
        return self.discriminators[0].weight

    def values(self):
        return self.network.weight.item(), self.d.item()


def wrap(model, discriminator_optimizer=ADAM, optimizer=SGD, **settings):
    config = dict(type='OptimWrapper', optimizer=optimizer, constructor=CONSTRUCTOR)
    if discriminator_optimizer:
        config['discriminator_optimizer'] = discriminator_optimizer
    return build_optim_wrapper(model, {**config, **settings})


def test_a_base_config_from_a_package_leaves_its_scope():
    wrapper = wrap(Pair(), _scope_='mmseg_u2pl', optimizer={**SGD, '_scope_': 'mmseg_u2pl'})
    assert set(wrapper.optimizer.parts) == {'networks', 'discriminators'}


def test_each_parameter_has_one_optimizer():
    model = cross.build('RRN')
    wrapper = wrap(model, None)
    parts = wrapper.optimizer.parts
    assert [type(part).__name__ for part in parts.values()] == ['SGD', 'Adam']
    owner = {
        id(parameter): type(part).__name__
        for part in parts.values()
        for group in part.param_groups
        for parameter in group['params']
    }
    for name, parameter in model.named_parameters():
        assert owner[id(parameter)] == ('Adam' if name.startswith('discriminators') else 'SGD')
    assert len(owner) == len(list(model.parameters()))
    adam = parts['discriminators'].param_groups[0]
    assert (adam['lr'], adam['betas']) == (1e-4, (0.9, 0.99))


def test_a_teacher_has_no_optimizer():
    model = tiny.ready('FixMatch', teacher=dict(momentum=0.9, norm='ema'))
    trained = [p for p in model.parameters() if p.requires_grad]
    for paramwise in (None, dict(custom_keys={'backbone': dict(lr_mult=0.1)})):
        groups = wrap(model, None, paramwise_cfg=paramwise).optimizer.param_groups
        found = [p for group in groups for p in group['params']]
        assert {*map(id, found)} == {*map(id, trained)}
        assert len(found) == len(trained)


def test_rates_by_name_are_those_of_both_networks():
    model = cross.build('RRN')
    wrapper = wrap(model, paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}))
    rates = {
        id(parameter): group['lr']
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    for name, parameter in model.named_parameters():
        expected = 1.0 if 'decode_head' in name else 0.1
        if name.startswith('discriminators'):
            expected = 0.01
        assert rates[id(parameter)] == pytest.approx(expected), name


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class BackboneRules(DefaultOptimWrapperConstructor):
    """Rules as those of layer decay: by what a name begins with."""

    def add_params(self, params, module, **_):
        for name, parameter in module.named_parameters():
            rate = 0.01 if name.startswith('backbone.') else 0.1
            params.append(dict(params=[parameter], lr=rate * self.paramwise_cfg.get('scale', 2.0)))


@pytest.mark.parametrize('settings', [dict(paramwise_cfg=dict(scale=2.0)), {}])
@pytest.mark.parametrize('kind', ['CrossPseudo', 'RRN', 'U2PL'])
def test_rules_by_the_beginning_of_a_name_reach_every_network(kind, settings):
    model = tiny.u2pl() if kind == 'U2PL' else cross.build(kind)
    wrapper = wrap(model, rules='BackboneRules', **settings)
    rates = {
        id(parameter): group['lr']
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    names = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(rates) >= len(names)
    for name, parameter in names.items():
        expected = 0.02 if name.removeprefix('network2.').startswith('backbone.') else 0.2
        if name.startswith('discriminators'):
            expected = 0.01
        assert rates[id(parameter)] == pytest.approx(expected), name


@pytest.mark.parametrize('paramwise', [None, dict(norm_decay_mult=0.0)])
def test_a_parameter_has_the_settings_that_mmengine_gives_it(paramwise):
    model = MODELS.build(dict(type='EncoderDecoder', **tiny.networks()))
    sgd = dict(SGD, weight_decay=1e-4)
    config = dict(type='OptimWrapper', optimizer=sgd, paramwise_cfg=paramwise)
    ours = build_optim_wrapper(model, dict(config, constructor=CONSTRUCTOR))
    theirs = build_optim_wrapper(model, config)
    assert type(ours) is type(theirs)
    assert len(ours.optimizer.param_groups) == (2 if paramwise else 1)  # with decay, and without

    def settings(wrapper):
        return {
            id(parameter): {k: v for k, v in group.items() if k != 'params'}
            for group in wrapper.optimizer.param_groups
            for parameter in group['params']
        }

    assert settings(ours) == settings(theirs)


def test_one_backward_steps_both_by_hand():
    model = Pair()
    wrapper = wrap(model)
    wrapper.update_params(model.loss(network=2.0, discriminator=5.0))
    assert model.values() == pytest.approx((1 - 0.1 * 2.0, 1 - 0.01))  # Adam's first step is lr
    wrapper.update_params(model.loss(network=2.0, discriminator=5.0))
    assert model.values() == pytest.approx((0.8 - 0.1 * (0.9 * 2.0 + 2.0), 1 - 0.02))
    assert model.d.grad is None


def test_gradients_accumulate_for_both():
    model = Pair()
    wrapper = wrap(model, accumulative_counts=2, discriminator_optimizer=dict(type='SGD', lr=1.0))
    wrapper.update_params(model.loss())
    assert model.values() == (1.0, 1.0)
    wrapper.update_params(model.loss(network=3.0, discriminator=0.0))
    assert model.values() == pytest.approx((1 - 0.1 * 2.0, 1 - 0.5))  # means of 1, 3 and of 1, 0


def test_schedulers_change_the_networks_rate_alone():
    model = Pair()
    wrapper = wrap(model)
    scheduler = PolyLR(wrapper, power=1.0, end=5, by_epoch=False)
    rates = []
    for _ in range(4):
        rates.append({name: values[0] for name, values in wrapper.get_lr().items()})
        wrapper.update_params(model.loss())
        scheduler.step()
    assert [r['lr'] for r in rates] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert [r['base_lr'] for r in rates] == [r['lr'] for r in rates]
    assert {r['discriminators.lr'] for r in rates} == {0.01}


def test_each_part_is_clipped_by_itself():
    model = Pair()
    sgd = dict(type='SGD', lr=1.0)
    wrapper = wrap(model, sgd, sgd, clip_grad=dict(max_norm=2.0))
    wrapper.update_params(model.loss(network=1.0, discriminator=1000.0))
    assert model.values() == pytest.approx((1 - 1.0, 1 - 2.0))


def test_state_goes_back_into_both():
    model = Pair()
    wrapper = wrap(model)
    for _ in range(3):
        wrapper.update_params(model.loss())
    state, weights = copy.deepcopy(wrapper.state_dict()), copy.deepcopy(model.state_dict())
    wrapper.update_params(model.loss(network=2.0, discriminator=-3.0))
    other = Pair()
    other.load_state_dict(weights)
    again = wrap(other)
    again.load_state_dict(state)
    again.update_params(other.loss(network=2.0, discriminator=-3.0))
    assert other.values() == model.values()
    # loading replaces the groups of torch's optimizers: schedulers must see the new ones
    scheduler = PolyLR(again, power=1.0, end=3, by_epoch=False)
    again.update_params(other.loss())
    scheduler.step()
    assert again.optimizer.parts['networks'].param_groups[0]['lr'] == pytest.approx(0.05)


def test_the_state_of_another_method_is_refused():
    model = Pair()
    plain = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=SGD))
    tiny.assert_raises(
        ValueError,
        lambda: wrap(model).load_state_dict(plain.state_dict()),
        "['param_groups', 'state']",
        "['discriminators', 'networks']",
        'trained by another method',
        'load_from',
    )


# ------------------------------------------------------------------------------ mixed precision
@pytest.fixture
def amp(monkeypatch):
    """mmengine's AMP wrapper on the CPU, with torch's scaler for it."""
    module = 'mmengine.optim.optimizer.amp_optimizer_wrapper'
    monkeypatch.setattr(f'{module}.is_cuda_available', lambda: True)
    monkeypatch.setattr(
        f'{module}.GradScaler', lambda **settings: torch.amp.GradScaler('cpu', **settings)
    )


def test_one_scaler_for_both(amp):
    model = Pair()
    wrapper = wrap(model, type='AmpOptimWrapper', loss_scale=dict(init_scale=8.0))
    wrapper.update_params(model.loss(network=2.0))
    assert model.values() == pytest.approx((1 - 0.1 * 2.0, 1 - 0.01))


def test_a_run_in_mixed_precision_goes_on_without(amp):
    scaled = wrap(Pair(), type='AmpOptimWrapper')
    plain = wrap(Pair())
    state = scaled.state_dict()
    assert 'loss_scaler' in state
    plain.load_state_dict(state)
    assert 'loss_scaler' not in plain.state_dict()


@pytest.mark.parametrize('settings', [{}, dict(clip_grad=dict(max_norm=100.0))])
def test_an_overflow_anywhere_skips_the_step_of_all(amp, settings):
    model = Pair()
    wrapper = wrap(model, type='AmpOptimWrapper', loss_scale=dict(init_scale=8.0), **settings)
    wrapper.update_params(model.loss(discriminator=float('inf')))
    assert model.values() == (1.0, 1.0)
    assert wrapper.loss_scaler.get_scale() == 4.0
    wrapper.update_params(model.loss(network=2.0))
    assert model.values() == pytest.approx((0.8, 0.99))


def test_the_scale_is_in_the_state(amp):
    model = Pair()
    settings = dict(type='AmpOptimWrapper', loss_scale=dict(init_scale=8.0))
    wrapper = wrap(model, **settings)
    wrapper.update_params(model.loss(discriminator=float('inf')))
    again = wrap(Pair(), **settings)
    again.load_state_dict(wrapper.state_dict())
    assert again.loss_scaler.get_scale() == 4.0


@pytest.mark.parametrize('constructor', [None, CONSTRUCTOR])
def test_bfloat16_has_no_scaler_and_float32_weights(constructor):
    """Forward passes alone are rounded: 1/3 to 171/512."""
    model = Pair()
    config = dict(type='BFloat16OptimWrapper', optimizer=SGD)
    with DefaultScope.overwrite_default_scope('mmseg'):
        wrapper = build_optim_wrapper(
            model, config | ({'constructor': constructor} if constructor else {})
        )
    with wrapper.optim_context(model):
        out = model.network(torch.full((1, 1), 1 / 3))
    assert out.dtype == torch.bfloat16
    assert out.item() == 171 / 512
    wrapper.update_params(out.float().sum())
    assert model.network.weight.dtype == torch.float32
    assert model.network.weight.item() == pytest.approx(1 - 0.1 * 171 / 512)
    assert model.network(torch.full((1, 1), 1 / 3)).dtype == torch.float32


def test_a_tied_weight_is_stepped_once():
    model = nn.Module()
    model.one, model.two = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    model.two.weight = model.one.weight
    wrapper = wrap(model, None, dict(type='SGD', lr=1.0))
    before = model.one.weight.item()
    wrapper.update_params(model.one.weight.sum())
    assert model.one.weight.item() == pytest.approx(before - 1)


# ------------------------------------------------------------------------------------ mistakes
def test_mistakes_are_named():
    tiny.assert_raises(
        ValueError,
        lambda: wrap(Pair(), type='ApexOptimWrapper'),
        "optim_wrapper.type='ApexOptimWrapper'",
        'OptimWrapper or AmpOptimWrapper or BFloat16OptimWrapper',
    )


def test_one_optimizer_for_networks_and_discriminators_is_refused():
    model = cross.build('RRN')
    model.check(SimpleNamespace(optim_wrapper=wrap(model), max_iters=9))
    plain = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=SGD))
    tiny.assert_raises(
        ValueError, lambda: model.check(SimpleNamespace(optim_wrapper=plain, max_iters=9)),
        'RRN.discriminators', CONSTRUCTOR,
    )  # fmt: skip


def test_a_parameter_of_the_segmentor_itself_is_trained():
    model = tiny.semi('FixMatch')
    model.temperature = nn.Parameter(torch.ones(()))
    groups = wrap(model, None).optimizer.param_groups
    assert any(p is model.temperature for group in groups for p in group['params'])


def test_norms_are_logged_and_a_wrapper_may_be_a_class():
    wrapper = wrap(Pair(), type=OptimWrapper, clip_grad=dict(max_norm=0.5))
    model = Pair()
    wrapper = wrap(model, type=OptimWrapper, clip_grad=dict(max_norm=0.5))
    wrapper.update_params(model.loss(3.0, 2.0))
    scalars = wrapper.message_hub.log_scalars
    assert scalars['train/grad_norm'].current() == 3
    assert scalars['train/discriminators.grad_norm'].current() == 2
