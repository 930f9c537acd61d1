"""Write the config that was chosen, its supervised baseline, and what both share."""

from __future__ import annotations

import colorsys
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from ..split_files import changed_files, write_lists
from .choices import NETWORKS, PER_STEP, Choice, network_config
from .lists import OwnLists
from .masks import OwnMasks
from .methods import BASES, Method
from .text import BALANCE, call, header, noted, wrapped

TEMPLATE = Path(__file__).with_name('base.template')


def config_texts(
    name: str,
    method: Method,
    choices: Mapping[str, Choice],
    classes: Sequence[str],
    masks: OwnMasks,
    folders: Mapping[str, Path],
    command: str,
) -> dict[str, str]:
    """Contents of the config files by file name.

    Args:
        name: Of the main config.
        method: That it trains with.
        choices: As :func:`.choices.choose` makes them.
        classes: Their names.
        masks: How they are loaded, and their palette.
        folders: Of ``images``, ``masks``, ``unlabeled``, ``lists``, ``test_images`` and
            ``test_masks``.
        command: That is run now.
    """
    base = _base(method, choices, classes, masks, folders)
    inherit = f"_base_ = './{name}_base.py'"
    unused = ['find_unused_parameters = True  # the representation branch of the head']
    unused *= 'u2plhead' in choices['network'].value
    settings = method.settings(choices['iterations'].value, choices['crop'].value)
    main = [inherit, f'model = {call(**settings)}']
    main += [f'optim_wrapper = {call(**method.optimizer)}'] * bool(method.optimizer)
    main += unused * (not settings.get('contrastive'))
    main.append(
        _loader(method.group, f"default_hooks = dict(checkpoint=dict(save_best='{method.best}'))")
    )
    about = '# The supervised baseline: what the labeled images alone give.'
    baseline = [about, inherit, *unused]
    baseline.append(_loader(0, "default_hooks = dict(checkpoint=dict(save_best='mIoU'))"))
    leaves = {f'{name}.py': main, f'{name}_supervised.py': baseline}
    if not method.model:
        leaves = {f'{name}.py': baseline}
    texts = {f'{name}_base.py': base, **{file: '\n'.join(text) for file, text in leaves.items()}}
    return {file: header(command) + text for file, text in texts.items()}


def _loader(group: int, hooks: str) -> str:
    """``train_dataloader`` with ``group`` unlabeled images for each labeled one, and what follows."""
    batch = PER_STEP * (1 + group)
    note = f'  # {PER_STEP} labeled + {PER_STEP * group} unlabeled' if group else ''
    unlabeled = '_base_.unlabeled' if group else 'None'
    return f"""\
train_dataloader = dict(
    batch_size={batch},{note}
    num_workers=_base_.workers,
    persistent_workers=True,
    sampler=dict(type='SemiSampler', ratio=(1, {group})),
    dataset=dict(type='SemiDataset', labeled=_base_.labeled, unlabeled={unlabeled}),
)
auto_scale_lr = dict(base_batch_size={batch})  # one process
{hooks}
"""


def _base(
    method: Method,
    choices: Mapping[str, Choice],
    classes: Sequence[str],
    masks: OwnMasks,
    folders: Mapping[str, Path],
) -> str:
    """Data, network and schedule."""
    network, total = choices['network'].value, choices['iterations']
    palette = list(masks.palette or default_palette(len(classes)))
    load = call(type='LoadMask' if masks.loading else 'LoadAnnotations', **masks.loading)
    load = load.replace(f'colors={masks.palette!r}', "colors=metainfo['palette']")
    places = {name: repr(os.path.abspath(folder)) for name, folder in folders.items()}
    tested = folders['test_masks'] != folders['masks']
    normalization, lr = choices['normalization'], choices['learning rate']
    size = 'size=crop_size'
    if not isinstance(normalization.value, str):
        size += ', mean={}, std={}'.format(*normalization.value)
    model = network_config(network)
    heads = [head for head in ('decode_head', 'auxiliary_head') if head in model]

    def setting(name: str, variable: str) -> str:
        choice = choices[name]
        return noted(f'{variable} = {choice.value!r}', choice.why)

    return Template(TEMPLATE.read_text(encoding='utf-8')).substitute(
        places,
        runtime=repr(str(BASES / 'default_runtime.py')),
        model_file=repr(str(BASES / f'models/{network}.py')),
        schedule_file=repr(str(BASES / f'schedules/{NETWORKS[network][0]}.py')),
        classes=wrapped(classes),
        palette=wrapped(palette),
        scale=setting('input scale', 'scale'),
        crop=setting('crop', 'crop_size'),
        workers=setting('workers', 'workers'),
        max_iters=setting('iterations', 'max_iters'),
        load_masks=noted(f'load_masks = {load}', choices['masks'].why),
        distort="dict(type='PhotoMetricDistortion'), " if method.balanced else '',
        test='test' if tested else 'val',
        test_note='# Images that no choice depends on.'
        if tested
        else '# The images of val, which choose the checkpoint: for a number to publish, give --test.',
        preprocessor=noted(f'    data_preprocessor=dict({size}),', normalization.why),
        heads=''.join(f'    {head}=dict(num_classes={len(classes)}),\n' for head in heads),
        interval=max(1, total.value // 2),
        optimizer=noted(f'optim_wrapper = dict(optimizer=dict(lr={lr.value:g}))', lr.why),
        balance=f'custom_hooks = [{BALANCE}]' if method.balanced else '',
    )


def config_name(out: Path) -> str:
    """Name of the config, by its folder: letters, digits, ``-`` and ``_``."""
    return re.sub(r'[^\w-]+', '_', out.resolve().name).strip('_') or 'config'


def write_configs(out: Path, texts: Mapping[str, str], lists: OwnLists, force: bool) -> bool:
    """Write configs and ``splits/``; the same request gives the same bytes.

    Returns:
        Whether anything changed.

    Raises:
        FileExistsError: A file exists with other content, without ``force``; nothing is written
            then.
    """
    contents = {out / file: text.encode() for file, text in texts.items()}
    changed = changed_files(contents, force)
    new_lists = write_lists(out / 'splits', lists.stems, lists.provenance, force)
    for path in changed:
        path.write_bytes(contents[path])
    return bool(changed) or new_lists


def default_palette(number: int) -> Sequence[list[int]]:
    """R, G, B (0 ... 255) of each class, of well separated hue; the first is black."""
    golden = (math.sqrt(5) - 1) / 2
    hues = [colorsys.hsv_to_rgb(i * golden % 1, 0.75, 0.9) for i in range(number - 1)]
    return [[0, 0, 0], *([round(255 * part) for part in hue] for hue in hues)]
