"""Optimizers of the networks and the discriminators, one backward; mixed precision on any device."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.optim import Optimizer

from ..compat import type_name

DISCRIMINATOR_OPTIMIZER = {'type': 'Adam', 'lr': 1e-4, 'betas': (0.9, 0.99)}
"""What trains it if the config does not say."""


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """``OptimWrapper`` with forward passes in bfloat16.

    bfloat16 has the range of float32, so gradients need no scale, and a CPU can have it: mmengine's
    ``AmpOptimWrapper`` asks for a GPU. Arguments as in ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast on the model's device; also holds back gradient exchange while accumulating."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


class JointOptimizer:
    """Several optimizers that act as one.

    A gradient scaler sees one optimizer: an overflow anywhere skips the step everywhere.

    Args:
        parts: The optimizers by name, of disjoint parameters.
    """

    def __init__(self, parts: Mapping[str, Optimizer]) -> None:
        self.parts = dict(parts)
        self.defaults = next(iter(self.parts.values())).defaults

    @property
    def param_groups(self) -> list[dict]:
        """All groups, those of the first part first."""
        return [group for part in self.parts.values() for group in part.param_groups]

    def step(self) -> None:
        """Step all."""
        for part in self.parts.values():
            part.step()

    def zero_grad(self, **settings: Any) -> None:
        """Clear the gradients of all."""
        for part in self.parts.values():
            part.zero_grad(**settings)

    def state_dict(self) -> dict[str, Any]:
        """The state of each part under its name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Put the state of each part back; ValueError for a state of other parts."""
        saved = sorted(set(state_dict) - {'loss_scaler'})  # resumed without --amp it is of no use
        if saved != sorted(self.parts):
            raise ValueError(
                f'the checkpoint has the state of an optimizer with {saved}, not of '
                f'{sorted(self.parts)}: it was trained by another method. To start from its '
                'weights alone, use load_from without resume'
            )
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])


class _Joint(OptimWrapper):
    """What an optimizer wrapper of a :class:`JointOptimizer` does differently.

    Schedulers see the first part, the segmentation networks, alone.
    """

    @property
    def param_groups(self) -> list[dict]:
        """The groups that a scheduler changes."""
        first = next(iter(self.optimizer.parts.values())).param_groups
        return first if self.base_param_settings is None else [*first, self.base_param_settings]

    def get_lr(self) -> dict[str, list[float]]:
        """Those of the first part, for the log; the others' under their names."""
        rates = super().get_lr()
        for name, part in list(self.optimizer.parts.items())[1:]:
            rates[f'{name}.lr'] = [group['lr'] for group in part.param_groups]
        return rates

    def _clip_grad(self) -> None:
        """Clip each part by itself: a discriminator's gradient shrinks no segmentor's."""
        for name, part in self.optimizer.parts.items():
            parameters = [p for group in part.param_groups for p in group['params']]
            parameters = [p for p in parameters if p.grad is not None]
            norm = self.clip_func(parameters, **self.clip_grad_kwargs)
            if norm is not None and parameters:  # clipping by value has none
                key = 'grad_norm' if name == 'networks' else f'{name}.grad_norm'
                self.message_hub.update_scalar(f'train/{key}', float(norm))


WRAPPERS = {
    kind.__name__: type(f'Joint{kind.__name__}', (_Joint, kind), {})
    for kind in (OptimWrapper, AmpOptimWrapper, BFloat16OptimWrapper)
}
"""Wrappers of several optimizers by the name of the wrapper of one."""


def merged_groups(groups: list[dict]) -> list[dict]:
    """Parameter groups with the same settings as one: an optimizer steps a group at once.

    mmengine's rules make a group of each parameter, which a GPU waits for one after the other.

    Args:
        groups: ``params`` and settings of each. Of a parameter in several, the first counts.
    """
    merged: list[tuple[dict, list]] = []
    seen: set[int] = set()
    for group in groups:
        settings = {key: value for key, value in group.items() if key != 'params'}
        params = [p for p in group['params'] if id(p) not in seen]
        seen.update(map(id, params))
        alike = next((others for known, others in merged if known == settings), None)
        if alike is None:
            merged.append((settings, params))
        else:
            alike += params
    return [{**settings, 'params': params} for settings, params in merged]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class SemiOptimWrapperConstructor:
    """Apply the rules of an optimizer config to each network of a method.

    Parameters with the same settings share a group. Rules see each network under the names of a plain
    segmentor, such as ``backbone.``, not ``network2.backbone.``. Discriminators get a separate
    optimizer, with a constant rate::

        optim_wrapper = dict(
            constructor='SemiOptimWrapperConstructor',
            rules='LearningRateDecayOptimizerConstructor',  # default: DefaultOptimWrapperConstructor
            discriminator_optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99)),  # the default
        )

    ``optimizer``, ``paramwise_cfg`` and ``param_scheduler`` are about the segmentation networks;
    ``clip_grad`` clips networks and discriminators apart.

    Args:
        optim_wrapper_cfg: ``type``, ``optimizer``, ``rules``, ``discriminator_optimizer`` and the
            wrapper's settings.
        paramwise_cfg: As in the constructor that ``rules`` names.

    Raises:
        ValueError: A wrapper that has no version for several optimizers.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.settings = {'type': 'OptimWrapper', **optim_wrapper_cfg}
        self.settings.pop('_scope_', None)  # mmengine's, of a base config from a package
        self.optimizer = dict(self.settings.pop('optimizer'))
        other = self.settings.pop('discriminator_optimizer', DISCRIMINATOR_OPTIMIZER)
        self.discriminator_optimizer = dict(other)
        self.rules = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(
                type=self.settings.pop('rules', 'DefaultOptimWrapperConstructor'),
                optim_wrapper_cfg=dict(type='OptimWrapper', optimizer=self.optimizer),
                paramwise_cfg=paramwise_cfg,
            )
        )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The wrapper of all optimizers."""
        segmentor: Any = model.module if is_model_wrapper(model) else model
        params: list = []
        for network in getattr(segmentor, 'networks', (segmentor,)):
            view = nn.Module()
            for name, part in network.named_children():
                if name not in ('discriminators', 'network2', 'teacher'):
                    view.add_module(name, part)
            for name, parameter in network.named_parameters(recurse=False):
                view.register_parameter(name, parameter)
            self.rules.add_params(params, view)
        optimizer = OPTIMIZERS.build(dict(self.optimizer, params=merged_groups(params)))
        discriminators = getattr(segmentor, 'discriminators', None)
        if discriminators is None:
            return OPTIM_WRAPPERS.build(dict(self.settings, optimizer=optimizer))

        settings = dict(self.settings)
        kind = type_name(settings)
        del settings['type']
        if kind not in WRAPPERS:
            raise ValueError(
                f'optim_wrapper.type={kind!r} has no version for several optimizers: use '
                f'{" or ".join(WRAPPERS)}'
            )
        config = dict(self.discriminator_optimizer, params=discriminators.parameters())
        parts = {'networks': optimizer, 'discriminators': OPTIMIZERS.build(config)}
        return WRAPPERS[kind](optimizer=JointOptimizer(parts), **settings)
