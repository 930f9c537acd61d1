"""Fit a config to another number of processes, or to another batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from mmengine.config import Config

from .optim.constructor import DISCRIMINATOR_OPTIMIZER

WORLD_SIZE = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS', 'mpi': 'OMPI_COMM_WORLD_SIZE'}
"""Where each launcher leaves the number of processes before they are connected."""

SCHEDULERS = {
    'PolyLR': (),
    'LinearLR': (),
    'ConstantLR': (),
    'CosineAnnealingLR': ('T_max',),
    'MultiStepLR': ('milestones',),
    'StepLR': ('step_size',),
}
"""Schedulers that stretch, and what they count in iterations in addition to ``begin`` and ``end``."""


class Change(NamedTuple):
    """A setting by its place in the config."""

    setting: str
    old: Any
    new: Any


class _New(NamedTuple):
    """The value of a key of a part of the config that is to be."""

    place: str
    part: dict
    key: str
    value: Any


def auto_scale(cfg: Config, world_size: int) -> list[Change]:
    """Change a config so that each optimizer step sees as many samples as it was written for.

    The config says what that is: ``auto_scale_lr.base_batch_size`` is B, the samples, labeled and
    unlabeled, of all processes in an iteration. W processes with b each see W·b. The run sees as
    many samples as the config, so everything in iterations is multiplied by B / (W·b): length,
    validations, checkpoints, schedulers and warm-ups. Beyond that,

    * with fewer samples gradients are accumulated over B / (W·b) iterations. Learning rates stay;
    * with more samples, which cannot be undone, all learning rates, RRN's discriminators' too, are
      multiplied by W·b / B (linear scaling, arXiv 1706.02677), as mmengine's scaling does.

    Intervals at which something is logged stay. What a forward computes for itself is over the W·b
    images at hand: BatchNorm's statistics (where ``sync_bn`` joins the processes; else over b, like
    U²PL's thresholds and prototypes). Running averages of these, and of the shares by which
    ``ClassAlignment`` aligns, take one value an iteration; the teacher takes one a step.

    B becomes W·b: the result is a config for W processes, and scaling it again changes nothing.

    Args:
        cfg: A training config; changed in place.
        world_size: W.

    Returns:
        What was changed; nothing where B = W·b.

    Raises:
        ValueError: B is not stated or no multiple of W·b; mmengine would scale, too; a loop or a
            scheduler that is not known in iterations.
    """
    base = _base_batch_size(cfg)
    batch_size = cfg.train_dataloader.batch_size
    now = world_size * batch_size
    if now == base:
        return []
    optim_wrapper = cfg.optim_wrapper
    counts = optim_wrapper.setdefault('accumulative_counts', 1)
    step = base * counts  # samples of an optimizer step
    if now < step and step % now:
        fitting = [str(n) for n in range(1, step + 1) if step % (n * batch_size) == 0]
        raise ValueError(
            f'{world_size} processes with train_dataloader.batch_size={batch_size} see {now} '
            f'samples an iteration, and a step of the config, {step} samples '
            f'(auto_scale_lr.base_batch_size={base}), is not a multiple of that: '
            + (f'use {", ".join(fitting)} processes, or ' if fitting else '')
            + f'a batch_size whose {world_size}-fold divides {step}'
        )
    new = list(_iterations(cfg, Fraction(base, now)))
    new.append(_New('optim_wrapper', optim_wrapper, 'accumulative_counts', max(1, step // now)))
    if now > step:
        new += _rates(cfg, Fraction(now, step))
    new.append(_New('auto_scale_lr', cfg.auto_scale_lr, 'base_batch_size', now))

    changes = [Change(f'{n.place}.{n.key}', n.part[n.key], n.value) for n in new]
    for n in new:
        n.part[n.key] = n.value
    return [change for change in changes if change.old != change.new]


def describe(changes: Iterable[Change]) -> str:
    """A line for each change."""
    lines = [f'  {change.setting}: {change.old} -> {change.new}' for change in changes]
    if not lines:
        return '--auto-scale: the config is written for this many samples an iteration'
    return '\n'.join(['--auto-scale:', *lines])


def launched_processes(launcher: str) -> int:
    """The number of processes that ``--launcher`` started."""
    return 1 if launcher == 'none' else int(os.environ[WORLD_SIZE[launcher]])


def _base_batch_size(cfg: Config) -> int:
    setting = cfg.get('auto_scale_lr') or {}
    if 'base_batch_size' not in setting:
        raise ValueError(
            'the config does not say how many samples a step it was written for: add '
            'auto_scale_lr = dict(base_batch_size=N), N = train_dataloader.batch_size times the '
            'number of processes'
        )
    if setting.get('enable'):
        raise ValueError(
            'auto_scale_lr.enable=True scales learning rates, too: leave it or --auto-scale out'
        )
    return setting['base_batch_size']


def _iterations(cfg: Config, scale: Fraction) -> Iterator[_New]:
    """Everything that is counted in iterations."""
    if 'max_iters' not in cfg.train_cfg:
        raise ValueError('train_cfg has no max_iters: --auto-scale is for an IterBasedTrainLoop')
    loop = ('max_iters', 'val_begin', 'val_interval', 'dynamic_intervals')
    yield from _scaled('train_cfg', cfg.train_cfg, *loop, scale=scale)
    yield from _scaled('model', cfg.model, 'warmup_iters', 'selftrain_warmup_iters', scale=scale)
    checkpoint = cfg.get('default_hooks', {}).get('checkpoint') or {}
    if not checkpoint.get('by_epoch', True):
        place = 'default_hooks.checkpoint'
        yield from _scaled(place, checkpoint, 'interval', 'save_begin', scale=scale)
    for place, scheduler in _schedulers(cfg):
        if scheduler['type'] not in SCHEDULERS:
            raise ValueError(
                f'{place}.type={scheduler["type"]!r} cannot be stretched: --auto-scale knows '
                f'{", ".join(SCHEDULERS)}'
            )
        keys = ('begin', 'end', *SCHEDULERS[scheduler['type']])
        yield from _scaled(place, scheduler, *keys, scale=scale)


def _rates(cfg: Config, scale: Fraction) -> Iterator[_New]:
    """Every learning rate."""
    optim_wrapper = cfg.optim_wrapper
    parts = ['optimizer']
    # RRN has discriminators whether or not its config says so
    has_discriminators = cfg.model.get('type') == 'RRN' or 'discriminator' in cfg.model
    if has_discriminators or 'discriminator_optimizer' in optim_wrapper:
        optim_wrapper.setdefault('discriminator_optimizer', dict(DISCRIMINATOR_OPTIMIZER))
        parts.append('discriminator_optimizer')
    for name in parts:
        place = f'optim_wrapper.{name}'
        if 'lr' not in optim_wrapper[name]:
            raise ValueError(f'{place} has no lr to scale: set it in the config')
        yield _New(place, optim_wrapper[name], 'lr', float(optim_wrapper[name]['lr'] * scale))
    for place, scheduler in _schedulers(cfg):
        if 'eta_min' in scheduler:
            yield _New(place, scheduler, 'eta_min', float(scheduler['eta_min'] * scale))


def _schedulers(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Those that count iterations, each with its place."""
    schedulers = cfg.get('param_scheduler') or []
    single = isinstance(schedulers, Mapping)
    for index, scheduler in enumerate([schedulers] if single else schedulers):
        if not scheduler.get('by_epoch', True):
            yield 'param_scheduler' if single else f'param_scheduler.{index}', scheduler


def _scaled(place: str, part: dict, *keys: str, scale: Fraction) -> Iterator[_New]:
    """The keys that the part has, stretched."""
    for key in keys:
        if part.get(key) is not None:
            yield _New(place, part, key, _stretch(part[key], scale))


def _stretch(iterations: Any, scale: Fraction) -> Any:
    """A number of iterations, or several; 0 and "never" (-1) stay."""
    if isinstance(iterations, list | tuple):
        return [_stretch(each, scale) for each in iterations]
    return max(1, round(iterations * scale)) if iterations > 0 else iterations
