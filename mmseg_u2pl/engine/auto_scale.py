"""Fit a config to another number of processes, or to another batch."""

import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from mmengine.config import Config

from .optim import DISCRIMINATOR_OPTIMIZER

WORLD_SIZE = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS', 'mpi': 'OMPI_COMM_WORLD_SIZE'}
"""Where each launcher leaves the number of processes before they are connected."""

SCHEDULERS = ('PolyLR', 'LinearLR', 'ConstantLR', 'CosineAnnealingLR', 'MultiStepLR', 'StepLR')
"""Schedulers that stretch: other settings than these do not depend on the number of iterations."""
SCHEDULER_ITERATIONS = ('begin', 'end', 'T_max', 'milestones', 'step_size')


class Change(NamedTuple):
    """A setting by its place in the config."""

    setting: str
    old: Any
    new: Any


def auto_scale(cfg: Config, world_size: int) -> list[Change]:
    """Change a config so that each optimizer step sees as many samples as it was written for.

    ``auto_scale_lr.base_batch_size`` is B, the samples, labeled and unlabeled, of all processes in
    an iteration. W processes with b each see W·b. Everything in iterations is multiplied by
    B / (W·b): length, validations, checkpoints, schedulers and the model's settings ``*_iters``.

    * with fewer samples gradients are accumulated over B / (W·b) iterations. Learning rates stay;
    * with more samples, which cannot be undone, all learning rates that the config states, RRN's
      ``discriminator_optimizer`` too, are multiplied by W·b / B (linear scaling, arXiv 1706.02677),
      as mmengine's scaling does.

    Intervals of logging stay. BatchNorm's statistics, U²PL's thresholds and running averages of them
    are of the images of one iteration; the teacher is averaged once a step.

    B becomes W·b: the result is a config for W processes, and scaling it again changes nothing.

    Args:
        cfg: A training config; changed in place.
        world_size: W.

    Raises:
        ValueError: B is not stated or no multiple of W·b; mmengine would scale, too; a loop or a
            scheduler that is not known in iterations.
    """
    base = _base_batch_size(cfg)
    batch_size = cfg.train_dataloader.batch_size
    now = world_size * batch_size
    if now == base:
        return []
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
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
    changes = [
        *_stretch_iterations(cfg, Fraction(base, now)),
        Change('optim_wrapper.accumulative_counts', counts, max(1, step // now)),
        *(_raise_rates(cfg, Fraction(now, step)) if now > step else ()),
        Change('auto_scale_lr.base_batch_size', base, now),
    ]
    cfg.merge_from_dict({change.setting: change.new for change in changes})
    return [change for change in changes if change.old != change.new]


def describe(changes: Iterable[Change]) -> str:
    """A line for each change."""
    lines = ''.join(f'\n  {change.setting}: {change.old} -> {change.new}' for change in changes)
    return '--auto-scale:' + (lines or ' the config is written for this many samples an iteration')


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


def _stretch_iterations(cfg: Config, scale: Fraction) -> Iterator[Change]:
    """Everything that is counted in iterations."""
    if 'max_iters' not in cfg.train_cfg:
        raise ValueError('train_cfg has no max_iters: --auto-scale is for an IterBasedTrainLoop')
    loop = ('max_iters', 'val_begin', 'val_interval', 'dynamic_intervals')
    lengths = tuple(key for key in cfg.model if key.endswith('_iters'))
    parts = [(cfg.train_cfg, 'train_cfg', loop), (cfg.model, 'model', lengths)]
    checkpoint = cfg.get('default_hooks', {}).get('checkpoint') or {}
    if not checkpoint.get('by_epoch', True):
        parts.append((checkpoint, 'default_hooks.checkpoint', ('interval', 'save_begin')))
    for scheduler, place in _schedulers(cfg):
        if scheduler['type'] not in SCHEDULERS:
            raise ValueError(
                f'{place}.type={scheduler["type"]!r} cannot be stretched: --auto-scale knows '
                f'{", ".join(SCHEDULERS)}'
            )
        parts.append((scheduler, place, SCHEDULER_ITERATIONS))
    for part, place, keys in parts:
        for key in keys:
            if part.get(key) is not None:
                yield Change(f'{place}.{key}', part[key], _stretched(part[key], scale))


def _stretched(iterations: Any, scale: Fraction) -> Any:
    """A number of iterations, or several; 0 and "never" (-1) stay."""
    if isinstance(iterations, list | tuple):
        return [_stretched(each, scale) for each in iterations]
    return max(1, round(iterations * scale)) if iterations > 0 else iterations


def _raise_rates(cfg: Config, scale: Fraction) -> Iterator[Change]:
    """Every learning rate."""
    optim_wrapper = cfg.optim_wrapper
    if cfg.model.get('type') == 'RRN':  # it has discriminators whether or not its config says so
        optim_wrapper.setdefault('discriminator_optimizer', dict(DISCRIMINATOR_OPTIMIZER))
    parts = [
        (optim_wrapper[name], f'optim_wrapper.{name}', 'lr')
        for name in ('optimizer', 'discriminator_optimizer')
        if name in optim_wrapper
    ]
    parts += [(part, place, 'eta_min') for part, place in _schedulers(cfg) if 'eta_min' in part]
    for part, place, key in parts:
        if key not in part:
            raise ValueError(f'{place} has no lr to scale: set it in the config')
        yield Change(f'{place}.{key}', part[key], float(part[key] * scale))


def _schedulers(cfg: Config) -> Iterator[tuple[dict, str]]:
    """Those that count iterations, each with its place."""
    schedulers = cfg.get('param_scheduler') or []
    single = isinstance(schedulers, Mapping)
    for index, scheduler in enumerate([schedulers] if single else schedulers):
        if not scheduler.get('by_epoch', True):
            yield scheduler, 'param_scheduler' if single else f'param_scheduler.{index}'
