"""Checkpoints that survive a crash: written whole or not at all, found again, loaded as data."""

import copy
import json
import logging
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import broadcast
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner.base_loop import BaseLoop
from mmengine.visualization import LocalVisBackend
from mmengine.visualization.vis_backend import force_init_env
from mmseg.registry import HOOKS, VISBACKENDS
from torch import nn

from ..models.parts.memory_bank import bank_buffers
from .segmentor import segmentor

SAMPLES = 'samples_per_iter'
"""Where the meta data of a checkpoint have the samples of an iteration, of all processes."""


class AtomicBackend(LocalBackend):
    """Writes a file under another name, onto the disk, and then renames it."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """As in ``LocalBackend``; an error leaves the file that was there."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f'.{path.name}.part')
        try:
            with part.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        with suppress(OSError):  # the rename, too, where the file system can
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


register_backend('AtomicBackend', AtomicBackend, force=True)


@VISBACKENDS.register_module()
class SafeVisBackend(LocalVisBackend):
    """mmengine's, but a full disk loses a line of the log instead of ending the training.

    A config is written as a whole, since work dirs are read after a kill; where it cannot be, at the start,
    nothing is lost yet, and the error is raised.
    """

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Write the config."""
        AtomicBackend().put(config.pretty_text.encode(), self._config_save_file)

    def _dump(self, *arguments: Any) -> None:
        with suppress(OSError):
            super()._dump(*arguments)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, which deletes a checkpoint after the next one is on the disk.

    Where a file cannot be written, on a full disk, the previous checkpoints stay and training continues
    with a warning. ``best_*`` checkpoints, which are for prediction, carry no memory bank.

    Args:
        *args: As in ``CheckpointHook``.
        **settings: As in ``CheckpointHook``.
    """

    backend_args: dict | None
    best_ckpt_path: str | None
    _default_greater_keys = [*CheckpointHook._default_greater_keys, 'IoU']  # of a class, too

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._outdated: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Write through :class:`AtomicBackend` unless another backend is set."""
        remote = '://' in str(self.out_dir or runner.work_dir)  # mmengine knows how to write there
        if self.backend_args is None and self.file_client_args is None and not remote:
            self.backend_args = dict(backend='AtomicBackend')
        super().before_train(runner)
        # of a folder that was moved or copied, not of the one where the run began
        if path := getattr(self, 'best_ckpt_path', None):
            self.best_ckpt_path = self._here(path)
        for key, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[key] = path and self._here(path)
        self._remove = self.file_backend.remove
        self.file_backend.remove = self._outdated.append  # this instance is the hook's

    def _here(self, path: str) -> str:
        return self.file_backend.join_path(self.out_dir, os.path.basename(path))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Only data goes into the file, so that it loads where no code may run; see :func:`plain`."""
        checkpoint['message_hub'] = plain(checkpoint['message_hub'])
        if 'optimizer' not in checkpoint:  # training does not go on from it
            for name in bank_buffers(segmentor(runner)):
                checkpoint['state_dict'].pop(name, None)
                checkpoint.get('ema_state_dict', {}).pop(f'module.{name}', None)  # of EMAHook

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """What :func:`plain` changed is mmengine's again; text of a config is not run as code.

        Raises:
            ValueError: As in :func:`check_fits`.
        """
        starts = isinstance(runner._train_loop, BaseLoop) and not runner._resume
        check_fits(segmentor(runner), checkpoint, starts)
        checkpoint.get('meta', {}).pop('config', None)
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, log in scalars.items():
            if isinstance(log, dict):
                values = (log[key].cpu().numpy() for key in ('values', 'counts'))
                scalars[name] = HistoryBuffer(*values, max_length=log['max_length'])
        optimizer = checkpoint.get('optimizer', {})
        for part in [optimizer, *optimizer.values()]:  # of several optimizers, by name
            for state in (part.get('state', {}) if isinstance(part, dict) else {}).values():
                if isinstance(state.get('step'), torch.Tensor):
                    # where Adam keeps its count; on a GPU it would be waited for at each step
                    state['step'] = state['step'].cpu()

    def before_val(self, runner: Runner) -> None:
        """All processes score the network that is saved."""
        share_statistics(segmentor(runner))

    def _save_checkpoint(self, runner: Runner) -> None:
        # here, where all processes come; the first alone knows that a file could not be written
        share_statistics(segmentor(runner))
        super()._save_checkpoint(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        # a run that was resumed on another batch may write a number for the second time
        if self.max_keep_ckpts > 0 and step in list(self.keep_ckpt_ids)[:-1]:
            self.keep_ckpt_ids.remove(step)
        with self._keeping_the_previous(runner, step):
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._keeping_the_previous(runner, runner.iter):
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _keeping_the_previous(self, runner: Runner, iteration: int) -> Iterator[None]:
        """Remove what is outdated when the new file is there; nothing where it is not."""
        names = ('last_ckpt', 'best_ckpt_path', 'best_ckpt_path_dict')
        before = {name: copy.copy(getattr(self, name)) for name in names if hasattr(self, name)}
        kept, outdated = list(getattr(self, 'keep_ckpt_ids', ())), list(self._outdated)
        runtime = dict(runner.message_hub.runtime_info)
        try:
            yield
        except OSError as error:
            for path in self._best() - self._best(before):  # those written before the error
                with suppress(OSError):
                    self._remove(path)
            for name, value in before.items():
                setattr(self, name, value)
            if self.max_keep_ckpts > 0:
                self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            runner.message_hub.runtime_info.clear()
            runner.message_hub.runtime_info.update(runtime)
            self._outdated[:] = outdated
            runner.logger.warning(
                f'no checkpoint at iteration {iteration}: {error}. The previous one stays and training '
                'continues; free space before the next one'
            )
        else:
            written = {self.last_ckpt, *self._best()}
            outdated, self._outdated[:] = list(self._outdated), []
            for path in (path for path in outdated if path not in written):
                with suppress(FileNotFoundError):
                    self._remove(path)

    def _best(self, state: dict[str, Any] | None = None) -> set[str]:
        """Paths of the best checkpoints, of the hook or of what it had before."""
        known = vars(self) if state is None else state
        paths = {known.get('best_ckpt_path'), *known.get('best_ckpt_path_dict', {}).values()}
        return paths - {None}


def share_statistics(model: nn.Module) -> None:
    """BatchNorm's running statistics of the first process, which a checkpoint has, become those of all.

    Each process has those of its own images; a resumed run would differ from an uninterrupted one.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            for buffer in module.buffers():
                broadcast(buffer)


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The newest ``iter_*.pth`` or ``epoch_*.pth`` of a work dir that can be read.

    Newest by the samples that it has seen, whatever ``last_checkpoint`` says: that file may be missing,
    empty, or name a folder that has moved. With another batch iterations are other numbers. Files that
    are skipped are named in the log.

    Returns:
        None in a folder without checkpoints.

    Raises:
        ValueError: There are checkpoints and none can be read.
    """
    numbers = {}
    for path in Path(folder).glob('*.pth'):
        if match := re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name):
            numbers[path] = int(match[1])
    seen, skipped = {}, []
    for path, number in sorted(numbers.items(), key=lambda item: item[1], reverse=True):
        try:
            state = torch.load(path, map_location='meta', weights_only=True, mmap=True)
            if 'optimizer' not in state:
                raise ValueError('it has no state of an optimizer')
        except Exception as error:
            reason = 'is empty' if not path.stat().st_size else f'cannot be read ({_first(error)})'
            print_log(f'{path} {reason}: skipped', logger='current', level=logging.WARNING)
            skipped.append(f'{path.name} {reason}')
        else:
            meta = state.get('meta', {})
            seen[path] = meta.get('iter', number) * meta.get(SAMPLES, 1)
    if seen:
        return max(seen, key=lambda path: seen[path])
    if skipped:
        raise ValueError(
            f'no checkpoint of {folder} can be resumed: {"; ".join(skipped)}. Train into another '
            '--work-dir, or without --resume'
        )
    return None


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a ``scalars.json``; the last one may have been cut off."""
    lines = []
    for line in path.read_text().splitlines():
        with suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def weights_of(checkpoint: dict) -> dict[str, Any]:
    """The state dict of a checkpoint, or itself, without the prefix of a distributed wrapper."""
    state = checkpoint.get('state_dict', checkpoint)
    return {name.removeprefix('module.'): value for name, value in state.items()}


def check_fits(
    model: nn.Module, checkpoint: dict, starts: bool, name: Any = 'the checkpoint'
) -> None:
    """Refuse a checkpoint whose weights are not those of the network.

    mmengine only warns, and the network would keep its random weights. A warning names networks of the
    checkpoint that the model does not have.

    Args:
        model: The segmentor.
        checkpoint: With ``state_dict``, or a state dict itself.
        starts: A training starts from the weights: any that fit will do. Otherwise backbone, neck and
            decode head must be complete, also those of a teacher or second network that it has.
        name: Of the checkpoint, for messages.

    Raises:
        ValueError: Weights are missing or have another shape.
    """
    state = weights_of(checkpoint)
    others = {key.split('.decode_head.')[0] for key in state if '.decode_head.' in key}
    if not starts and (unused := sorted(others - {key for key, _ in model.named_modules()})):
        print_log(
            f'{name} has a {" and a ".join(unused)} that {type(model).__name__} does not use: it is of '
            'another method',
            logger='current',
            level=logging.WARNING,
        )
    networks = [f'{name}.' for name, part in model.named_children() if hasattr(part, 'decode_head')]
    networks = ['', *(name for name in networks if any(key.startswith(name) for key in state))]
    parts = tuple(a + b for a in networks for b in ('backbone.', 'neck.', 'decode_head.'))
    needed = {name: v for name, v in model.state_dict().items() if name.startswith(parts)}
    missing = [name for name in needed if name not in state]
    other = [name for name in needed if name in state and state[name].shape != needed[name].shape]
    if (not missing and not other) or (starts and len(missing) + len(other) < len(needed)):
        return
    say = [f'{len(missing)} missing, such as {missing[0]}'] if missing else []
    if other:
        shapes = (tuple(weights[other[0]].shape) for weights in (state, needed))
        say.append('{} with another shape, such as {}: {} instead of {}'.format(
            len(other), other[0], *shapes))  # fmt: skip
    raise ValueError(
        f'{name} does not fit the network of the config: of {len(needed)} weights '
        f'{" and ".join(say)}. It may belong to another config, or hold a backbone alone'
    )


def plain(hub: dict[str, Any]) -> dict[str, Any]:
    """The state of mmengine's ``MessageHub`` as dicts, tensors, numbers and text."""
    scalars = {}
    for name, buffer in hub['log_scalars'].items():
        values, counts = (torch.as_tensor(array) for array in buffer.data)
        scalars[name] = dict(values=values, counts=counts, max_length=buffer.max_length)
    info = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in hub['runtime_info'].items()
    }
    return dict(hub, log_scalars=scalars, runtime_info=info)


@CheckpointLoader.register_scheme(prefixes=r'.*\.safetensors$')
def load_from_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Weights of a ``.safetensors`` file, wherever mmengine takes a checkpoint.

    Raises:
        ImportError: The package safetensors is missing.
    """
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise ImportError(f'{filename} needs: pip install safetensors') from None
    return dict(state_dict=load_file(filename, device=str(map_location or 'cpu')), meta={})


def _first(error: Exception) -> str:
    """The first line of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0]
