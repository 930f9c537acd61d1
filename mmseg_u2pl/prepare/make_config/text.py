"""Python text of configs: a method's and its supervised baseline's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yapf.yapflib import yapf_api

from ...version import __version__
from .methods import Method, read_method

STYLE = '{based_on_style: facebook, column_limit: 100}'


class Code(str):
    """Python text, where other strings are values."""


def code(value: Any) -> str:
    """Python text of plain values; dicts are written as ``dict(...)``."""
    if isinstance(value, Code):
        return value
    if isinstance(value, dict) and all(str(key).isidentifier() for key in value):
        return f'dict({", ".join(f"{key}={code(item)}" for key, item in value.items())})'
    if isinstance(value, list):
        return f'[{", ".join(map(code, value))}]'
    return repr(value)


def header(command: str) -> str:
    """The first line of a config."""
    return f'# Written by: {" ".join(command.splitlines())}  (mmseg_u2pl {__version__})\n'


def method_and_baseline(
    out: Path,
    base: str,
    method: Method,
    model: Mapping[str, Any],
    unlabeled: Any,
    batches: tuple[int, int | None],
    shared: Mapping[str, Any],
) -> dict[Path, str]:
    """Texts of a method's config and of its supervised baseline, ``<out>_supervised.py``, by path.

    Both inherit from ``base`` and its labeled data. ``supervised`` gives the baseline alone, at
    ``out``. ``model`` are settings of the method's model, ``unlabeled`` its data set, ``shared``
    settings of both configs. ``batches`` are the labeled images a step in one process and, if known,
    in all the processes that the learning rate is meant for.
    """
    versions = {out: method}
    if method.model:
        versions[out.with_name(f'{out.stem}_supervised.py')] = read_method('supervised')
    texts, checkpoint = {}, dict(type='CheckpointHook', by_epoch=False)
    for path, version in versions.items():
        batch, all_batches = ((size or 0) * (1 + version.group) for size in batches)
        sampler = dict(_delete_=True, type='SemiSampler', ratio=(1, version.group))
        dataset = dict(
            _delete_=True,
            type='SemiDataset',
            labeled=Code('_base_.train_dataloader.dataset'),
            unlabeled=unlabeled if version.model else None,
        )
        settings = dict(
            _base_=base,
            model=model if version.model else {},
            optim_wrapper=version.optimizer,
            train_dataloader=dict(batch_size=batch, sampler=sampler, dataset=dataset),
            auto_scale_lr=dict(base_batch_size=all_batches) if all_batches else {},
            default_hooks=dict(checkpoint=dict(checkpoint, save_best=version.best)),
        )
        settings = merged(settings, shared)
        lines = [f'{name} = {code(value)}\n' for name, value in settings.items() if value]
        texts[path] = yapf_api.FormatCode(''.join(lines), style_config=STYLE)[0]
    return texts


def merged(settings: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others added; dicts of one name are merged."""
    result = dict(settings)
    for name, value in others.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = merged(result[name], value) if both else value
    return result
