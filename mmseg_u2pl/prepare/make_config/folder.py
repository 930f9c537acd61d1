"""The config of a folder: data, network and schedule, from what was chosen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from string import Template
from typing import Any

from .choices import NETWORKS, PER_STEP, Choice
from .masks import OwnMasks
from .methods import BASES, Method
from .text import Code, code, header, method_and_baseline

TEMPLATE = Path(__file__).with_name('base.template')


def folder_texts(
    out: Path,
    method: Method,
    choices: Mapping[str, Choice],
    classes: Sequence[str],
    masks: OwnMasks,
    folders: Mapping[str, Path],
    command: str,
) -> dict[Path, str]:
    """Texts of the method's config, its supervised baseline and the base of both, by path.

    ``folders`` are ``images``, ``masks``, ``unlabeled``, ``lists``, ``test_images`` and
    ``test_masks``. The configs get the name of the folder ``out``.
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
        palette="load_masks['colors']" if 'colors' in masks.loading else '[]',
        load_masks=code(load),
        distort="dict(type='PhotoMetricDistortion'), " if method.balanced else '',
        test='val' if folders['test_masks'] == folders['masks'] else 'test',
        per_step=PER_STEP,
        mean_std=mean_std,
        num_classes=len(classes),
        interval=max(1, total // 2),
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
