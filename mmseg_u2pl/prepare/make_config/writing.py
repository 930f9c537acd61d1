"""Write the config that was chosen, its supervised twin, and what both share."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..prepare.split_files import changed_files, write_lists
from ..version import __version__
from .choices import Choice, default_palette
from .lists import OwnLists
from .reading import OwnMasks
from .recipes import BASES, METHODS, PER_STEP, is_balanced, twin_of

WIDTH = 100  # of a line


def config_name(out: Path) -> str:
    """Name of the config, by its folder: letters, digits, ``-`` and ``_``."""
    return re.sub(r'[^\w-]+', '_', out.resolve().name).strip('_') or 'config'


def config_texts(
    name: str,
    choices: Mapping[str, Choice],
    classes: Sequence[str],
    masks: OwnMasks,
    folders: tuple[Path, Path, Path, Path],
    command: str,
) -> dict[str, str]:
    """Contents of the config files by file name.

    Args:
        name: Of the main config.
        choices: As :func:`.choices.choose` makes them.
        classes: Their names.
        masks: How they are loaded, and their palette.
        folders: Of images, masks, unlabeled images and lists.
        command: That is run now.
    """
    method = choices['method'].value
    head = f'# Written by: {" ".join(command.splitlines())}  (mmseg_u2pl {__version__})\n'
    texts = {f'{name}_base.py': head + _base(choices, classes, masks, folders)}
    texts[f'{name}.py'] = head + _leaf(name, method, choices)
    if METHODS[method].model:
        texts[f'{name}_supervised.py'] = head + _leaf(name, twin_of(method), choices)
    return texts


def write_configs(out: Path, texts: Mapping[str, str], lists: OwnLists, force: bool) -> bool:
    """Write configs and ``splits/``; the same request gives the same bytes.

    Returns:
        Whether anything changed.

    Raises:
        FileExistsError: A file is there with other content, without ``force``; nothing is
            written then.
    """
    contents = {out / file: text.encode() for file, text in texts.items()}
    changed = changed_files(contents, force)
    new_lists = write_lists(out / 'splits', lists.stems, lists.provenance, force)
    for path in changed:
        path.write_bytes(contents[path])
    return bool(changed) or new_lists


def _base(
    choices: Mapping[str, Choice],
    classes: Sequence[str],
    masks: OwnMasks,
    folders: tuple[Path, Path, Path, Path],
) -> str:
    """What the method and its twin share: data, network, schedule."""
    images, mask_folder, unlabeled, lists = (Path(os.path.abspath(folder)) for folder in folders)
    root = Path(os.path.commonpath([images, mask_folder]))
    palette = list(masks.palette or default_palette(len(classes)))
    method, network, schedule = choices['method'].value, choices['network'], choices['schedule']
    scale, crop, total = choices['input scale'], choices['crop'], choices['iterations']
    lr, workers = choices['learning rate'], choices['workers']
    load = _call(type='LoadMask' if masks.loading else 'LoadAnnotations', **masks.loading)
    if 'colors' in masks.loading:
        load = load.replace(repr(masks.palette), "metainfo['palette']", 1)
    model = Config.fromfile(BASES / f'models/{network.value}.py').model
    heads = [head for head in ('decode_head', 'auxiliary_head') if head in model]
    distort = "        dict(type='PhotoMetricDistortion'),\n" if is_balanced(method) else ''
    normalize = f'data_preprocessor=dict({_preprocessor(choices["normalization"])}),'
    return f"""\
# What {lists.parent.name}'s config and its supervised twin share: a change here changes both.
_base_ = [
    'mmseg_u2pl::_base_/default_runtime.py',
    'mmseg_u2pl::_base_/models/{network.value}.py',  # {network.why}
    'mmseg_u2pl::_base_/schedules/{schedule.value}.py',  # {schedule.why}
]
# Absolute paths, so that the config runs from any folder; change these lines if the data move.
data_root = {str(root)!r}
images, masks = {_below(images, root)!r}, {_below(mask_folder, root)!r}
unlabeled_images = {_below(unlabeled, root)!r}
lists = {str(lists)!r}
metainfo = dict(
    classes=({_wrapped(classes)}),
    palette=[{_wrapped(palette)}],
)
{_noted(f'scale = {scale.value!r}', f'longest and short side; {scale.why}')}
{_noted(f'crop_size = {crop.value!r}', crop.why)}

{_noted(f'load_masks = {load}', choices['masks'].why)}
random_resize = dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.5), keep_ratio=True)
crop = dict(type='RandomCrop', crop_size=crop_size)
varied_crop = dict(crop, cat_max_ratio=0.75)  # not one class alone, as far as masks tell
flip_and_pack = [dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]
resize = dict(type='Resize', scale=scale, keep_ratio=True)
test_pipeline = [dict(type='LoadImageFromFile'), resize, dict(type='PackSegInputs')]
with_masks = dict(
    type='FolderDataset',
    metainfo=metainfo,
    data_root=data_root,
    data_prefix=dict(img_path=images, seg_map_path=masks),
)
labeled = dict(
    **with_masks,
    ann_file=lists + '/labeled.txt',
    pipeline=[
        dict(type='LoadImageFromFile'),
        load_masks,
        random_resize,
        varied_crop,
{distort}        *flip_and_pack,
    ],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path=unlabeled_images),
    ann_file=lists + '/unlabeled.txt',
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='AddValidityMap'),
        random_resize,
        crop,
        *flip_and_pack,
    ],
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **with_masks,
        ann_file=lists + '/val.txt',
        # masks after Resize: scored at the original size
        pipeline=[dict(type='LoadImageFromFile'), resize, load_masks, dict(type='PackSegInputs')],
    ),
)
test_dataloader = val_dataloader  # have test masks? give them here: val chooses the checkpoint
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
{_noted(f'workers = {workers.value}', workers.why)}

model = dict(
{_noted('    ' + normalize, choices['normalization'].why)}
{''.join(f'    {head}=dict(num_classes={len(classes)}),{chr(10)}' for head in heads)})
{_noted(f'max_iters = {total.value}', total.why)}
train_cfg = dict(max_iters=max_iters, val_interval={max(1, total.value // 2)})
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, end=max_iters, by_epoch=False)]
{_noted(f'optim_wrapper = dict(optimizer=dict(lr={lr.value:g}))', lr.why)}
default_hooks = dict(checkpoint=dict(interval={max(1, total.value // 2)}))
"""


def _leaf(name: str, method: str, choices: Mapping[str, Choice]) -> str:
    """The method, or its twin, on top of the shared part."""
    recipe = METHODS[method]
    own_branch = choices['network'].value.startswith('deeplabv3plus')  # of the head
    lines = [f"_base_ = ['./{name}_base.py', 'mmseg_u2pl::_base_/methods/{method}.py']"]
    if recipe.model:
        settings: dict[str, Any] = dict(type=recipe.model, **recipe.settings)
        if recipe.warmup:
            settings['warmup_iters'] = choices['warm-up'].value
        if not own_branch:
            settings.update(recipe.small)
        why = choices['warm-up'].why if recipe.warmup else ''
        lines.append(_noted(f'model = {_call(**settings)}', why))
    if recipe.optimizer:
        lines.append(f'optim_wrapper = {_call(**recipe.optimizer)}')
    if own_branch and method != 'u2pl':
        lines.append('find_unused_parameters = True  # the head’s representation branch rests')
    images = PER_STEP + recipe.unlabeled
    batch = f"""\
    batch_size={images},  # {PER_STEP} labeled + {recipe.unlabeled} unlabeled
    num_workers=_base_.workers,
    persistent_workers=True,
"""
    data = """\
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=_base_.labeled,
"""
    if recipe.model:
        data = f"""\
    sampler=dict(type='SemiSampler', ratio=(1, {recipe.unlabeled // PER_STEP})),
    dataset=dict(type='SemiDataset', labeled=_base_.labeled, unlabeled=_base_.unlabeled),
"""
    lines.append(f'train_dataloader = dict(\n{batch}{data})')
    lines.append(f'auto_scale_lr = dict(base_batch_size={images})  # one process')
    lines.append(f"default_hooks = dict(checkpoint=dict(save_best='{recipe.best}'))")
    return '\n'.join(lines) + '\n'


def _preprocessor(choice: Choice) -> str:
    if isinstance(choice.value, str):
        return 'size=crop_size'
    mean, std = choice.value
    return f'size=crop_size, mean={mean}, std={std}'


def _below(folder: Path, root: Path) -> str:
    """Relative where it lies below the root."""
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)


def _noted(code: str, why: str) -> str:
    """The reason behind the code, or above it where the line would be long."""
    line = f'{code}  # {why}' if why else code
    if len(line) <= WIDTH or not why:
        return line
    indent = code[: len(code) - len(code.lstrip())]
    return f'{indent}# {why}\n{code}'


def _wrapped(values: Sequence[Any]) -> str:
    """The items of a list, over several lines where one would be long; none is broken."""
    items = ' '.join(f'{value!r},'.replace(' ', '\0') for value in values)
    indent = ' ' * 8
    width = WIDTH - len(indent)
    lines = textwrap.wrap(items, width, break_long_words=False, break_on_hyphens=False)
    text = ''.join(f'\n{indent}{line}' for line in lines) + '\n    '
    return text.replace('\0', ' ')


def _call(**settings: Any) -> str:
    """``dict(...)`` as config files write it, nested too."""

    def text(value: Any) -> str:
        return _call(**value) if isinstance(value, dict) else repr(value)

    return f'dict({", ".join(f"{key}={text(value)}" for key, value in settings.items())})'
