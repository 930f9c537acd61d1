"""Python text of configs: a method's and its supervised baseline's, and their base of a folder."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from string import Template
from typing import Any

from matplotlib import colormaps
from mmengine.config import Config
from yapf.yapflib import yapf_api

from ...version import __version__
from .choices import NETWORKS, PER_STEP, Choice
from .methods import BASES, Method, read_method
from .reading import OwnMasks

TEMPLATE = Path(__file__).with_name('base.template')
STYLE = '{based_on_style: facebook, column_limit: 100}'


def _palette(count: int) -> str:
    """Colors that are easily told apart; of more than 20 classes none, then mmseg draws some."""
    colors = colormaps['tab10' if count <= 10 else 'tab20'].colors[:count]  # type: ignore[attr-defined]
    return str([tuple(round(255 * part) for part in c) for c in colors] if count <= 20 else [])


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


def folder_texts(
    out: Path,
    method: Method,
    choices: Mapping[str, Choice],
    classes: Sequence[str],
    masks: OwnMasks,
    folders: Mapping[str, Path],
    command: str,
    test: str = 'val',
) -> dict[Path, str]:
    """Texts of the method's config, its supervised baseline and the base of both, by path.

    ``folders`` are ``images``, ``masks``, ``unlabeled``, ``lists``, ``test_images`` and
    ``test_masks``; ``test`` is the name of the list of test images. The configs get the name of the
    folder ``out``.
    """
    name = re.sub(r'[^\w-]+', '_', out.resolve().name).strip('_') or 'config'
    network, crop, total = (choices[key].value for key in ('network', 'crop', 'iterations'))
    parts = 'default_runtime', f'models/{network}', f'schedules/{NETWORKS[network][0]}'
    mean_std = choices['normalization'].value
    mean_std = '' if isinstance(mean_std, str) else ', mean={}, std={}'.format(*mean_std)
    values: dict[str, Any] = {}
    for setting, choice in choices.items():
        key = re.sub('[ -]', '_', setting)
        values[key], values[f'why_{key}'] = repr(choice.value), choice.why
    values.update({key: repr(os.path.abspath(folder)) for key, folder in folders.items()})
    load = dict(type='LoadMask' if masks.loading else 'LoadAnnotations', **masks.loading)
    base = Template(TEMPLATE.read_text(encoding='utf-8')).substitute(
        values,
        bases=pformat([str(BASES / f'{part}.py') for part in parts], width=100),
        classes=pformat(tuple(classes), width=100, compact=True),
        palette="load_masks['colors']" if 'colors' in masks.loading else _palette(len(classes)),
        load_masks=code(load),
        distort="dict(type='PhotoMetricDistortion'), " if method.balanced else '',
        test=test,
        per_step=PER_STEP,
        mean_std=mean_std,
        num_classes=len(classes),
        interval=max(1, total // 10),  # curves have ten points
        find_unused='u2plhead' in network,  # the representation branch of the head
    )
    texts = method_and_baseline(
        out / f'{name}.py',
        f'./{name}_base.py',
        method,
        method.settings(total, crop),
        Code('_base_.unlabeled'),
        (PER_STEP, PER_STEP),
        dict(custom_hooks=[dict(type='ClassWeightsHook')]) if method.balanced else {},
    )
    texts[out / f'{name}_base.py'] = base
    return {path: header(command) + text for path, text in texts.items()}


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
    texts, checkpoint = {}, dict(type='SafeCheckpointHook', by_epoch=False)
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
    """Settings with others added, as mmengine merges a child config into its base."""
    both = Config(dict(settings=settings))
    both.merge_from_dict(dict(settings=others))
    return both.to_dict()['settings']
