"""Let a run continue with another number of processes, with another batch, or to another length."""

import warnings
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ..datasets import SemiSampler
from .checkpoints import SAMPLES

MAX_ITERS = 'max_iters'
"""Where a checkpoint's ``meta`` has the length of its training."""
SEED = 'sampler_seed'
"""Where it has the seed of the stream of samples; the config need not have one."""


@HOOKS.register_module()
class ResumeBatchHook(Hook):
    """Resume where as many samples were seen, however many processes see them.

    P samples, labeled and unlabeled, of all processes made an iteration, and a checkpoint says so.
    Resumed where P' make one, it stands at iteration t' with t'·P' = t·P, rounded down to a whole
    optimizer step, and the sampler continues with the next sample of the same stream. Weights,
    teacher, bank and the optimizers' momenta are the checkpoint's; learning rates are the config's
    at t'. The stream keeps its seed, whatever the config says.

    With P' = P the iteration stays, and so do the rates, but where the training has become longer or
    shorter: mmengine's schedulers would keep the old end, and a longer training stay at its last rate.

    The config must be written for P' samples an iteration (``auto_scale_lr.base_batch_size``), which
    ``tools/train.py --auto-scale`` sees to. The hook warns where a run begins with another number.

    Raises:
        ValueError: Resumed with another P' than the config is written for.
    """

    def before_train(self, runner: Runner) -> None:
        """Warn where the config is written for another batch."""
        base, now, shares = _batch(runner)
        if base not in (None, now):
            runner.logger.warning(
                f'the config is written for {base} samples an iteration, and {shares} see '
                f'{now}: tools/train.py --auto-scale fits rates and iterations to that'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write how many samples an iteration has, how many there are, and the seed of the stream."""
        checkpoint['meta'][SAMPLES] = _batch(runner)[1]
        checkpoint['meta'][MAX_ITERS] = runner.max_iters
        checkpoint['meta'][SEED] = getattr(runner.train_dataloader.sampler, 'seed', None)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rewrite what the runner is about to resume; checkpoints of other code do not say P."""
        meta = checkpoint.get('meta', {})
        if not runner._resume:
            return  # without a look at the training images, which a test does not need
        sampler = runner.train_dataloader.sampler
        if meta.get(SEED) is not None and isinstance(sampler, SemiSampler):
            sampler.reseed(meta[SEED])
        if (before := meta.get(SAMPLES)) is None:
            return
        base, now, shares = _batch(runner)
        length = meta.get(MAX_ITERS, runner.max_iters)
        if before == now and length == runner.max_iters:
            return
        if before != now != base:
            raise ValueError(
                f'the checkpoint was trained on {before} samples an iteration, but '
                f'{shares} see {now}, and the config is written for '
                f'{"an unknown number" if base is None else base}: resume with tools/train.py '
                '--auto-scale, which fits rates and iterations to that (the config states '
                'auto_scale_lr.base_batch_size), or with as many processes as before'
            )
        iteration = meta['iter']
        if before != now:
            counts = runner.optim_wrapper._accumulative_counts
            iteration = meta['iter'] * before // (now * counts) * counts
            runner.logger.info(
                f'{now} samples an iteration instead of {before}: iteration {meta["iter"]} is '
                f'{iteration} here'
            )
        else:
            runner.logger.info(
                f'max_iters={runner.max_iters} instead of {length}: learning rates are now those of '
                "the config's schedule"
            )
        meta['iter'] = iteration
        schedulers = _advance(runner, iteration)
        if 'param_schedulers' in checkpoint:
            checkpoint['param_schedulers'] = schedulers
        if 'optimizer' in checkpoint:
            _adopt_settings(checkpoint['optimizer'], runner.optim_wrapper.state_dict())


def _batch(runner: Runner) -> tuple[int | None, int, str]:
    """Samples an iteration by the config, those of all processes, and the latter in words."""
    processes, batch_size = runner.world_size, runner.train_dataloader.batch_size
    words = f'{processes} processes with train_dataloader.batch_size={batch_size}'
    return (runner.auto_scale_lr or {}).get('base_batch_size'), processes * batch_size, words


def _advance(runner: Runner, iteration: int) -> list[dict]:
    """The schedulers' states at an iteration of this config, to which they set the rates."""
    schedulers = runner.param_schedulers or []
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Detected call of')  # no optimizer steps here
        for _ in range(iteration):  # they compute each rate from the one before
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
    return [scheduler.state_dict() for scheduler in schedulers]


def _adopt_settings(saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Give a saved optimizer, or each of several, the groups' settings of the current one."""
    for name in ('param_groups', 'base_param_settings'):
        if name in saved and name in current:
            saved[name] = current[name]
    for name, part in saved.items():
        if isinstance(part, dict) and 'param_groups' in part and name in current:
            _adopt_settings(part, current[name])
