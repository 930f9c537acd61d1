"""Make any mmseg config semi-supervised: a child config of it, and its supervised baseline."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS

from ...datasets.files import image_names, list_text
from ...models.data_preprocessor import Grid
from .methods import Method
from .text import BALANCE, call, header

HOOKS = dict(
    semi_training=dict(type='SemiTrainingHook'),
    protocol=dict(type='ProtocolHook'),
    resume_batch=dict(type='ResumeBatchHook'),
)
WITHOUT_MASKS = ('LoadAnnotations', 'LoadMask', 'GenerateEdge', 'PhotoMetricDistortion')
"""Transforms that an unlabeled pipeline leaves out; the method adds its own photometric view."""


def child_texts(
    base: Path, unlabeled: Path, method: Method, out: Path, command: str
) -> dict[Path, str]:
    """Texts of the child and of its supervised baseline, ``<out>_supervised.py``, by path.

    Args:
        base: An mmseg config.
        unlabeled: Folder of images.
        method: A semi-supervised one.
        out: Path of the child.
        command: That is run now.

    Raises:
        FileNotFoundError: No such config or folder.
        ValueError: Names what of the base the method cannot use, and the remedy.
    """
    if not unlabeled.is_dir():
        raise FileNotFoundError(
            f'--unlabeled {str(unlabeled)!r}: no such folder (from {Path.cwd()})'
        )
    cfg = _load(base)
    _check(cfg, base, method)
    crop = _crop_size(cfg, base)
    grid, side = _measured_grid(cfg, base, crop)
    for length in crop:
        if not grid.holds(length):
            raise ValueError(
                f'{str(base)!r} has crops of {crop[0]}×{crop[1]}, but the network has the stride '
                f'{grid.stride} and align_corners={bool(grid.offset)}: {length} is displaced by '
                f'part of a pixel. Set crop_size to {grid.nearest(length)} there'
            )
    shared = _shared(cfg, base, method, grid, crop)
    names = _not_labeled(cfg, unlabeled)
    data = _unlabeled(cfg, unlabeled)
    if names:
        data['ann_file'] = os.path.abspath(out.with_name(f'{out.stem}_unlabeled.txt'))
    settings = method.settings(cfg.train_cfg.max_iters, crop)
    texts = {
        out: _text(cfg, shared, method.best, method.group, data, settings, method.optimizer),
        out.with_name(f'{out.stem}_supervised.py'): _text(cfg, shared, 'mIoU', 0),
    }
    texts = {path: header(command) + text for path, text in texts.items()}
    _check_model(texts[out], f'{str(base)!r} with {method.name}', side)
    return {**texts, **({Path(data['ann_file']): list_text(names).decode()} if names else {})}


def _load(base: Path) -> Config:
    if not base.is_file():
        raise FileNotFoundError(f'--base {str(base)!r}: no such config (from {Path.cwd()})')
    if Config._is_lazy_import(str(base)):
        raise ValueError(
            f'{str(base)!r} imports its parts ("with read_base()"), which a child of text cannot '
            'inherit: write it out by Config.fromfile(PATH).dump(NEW), and give NEW'
        )
    try:
        return Config.fromfile(base)
    except Exception as error:
        raise ValueError(f'cannot load {str(base)!r}: {type(error).__name__}: {error}') from error


def _check(cfg: Config, base: Path, method: Method) -> None:
    """Raise ValueError for what a method cannot work with."""
    where, kind = f'{str(base)!r}: ', cfg.get('model', {}).get('type')
    if kind != 'EncoderDecoder':
        cascade = kind == 'CascadeEncoderDecoder'
        remedy = "keep one head: model = dict(type='EncoderDecoder', decode_head=dict(_delete_=True, ...))"
        why = f'{len(cfg.model.decode_head)} heads in a row' if cascade else 'another segmentor'
        raise ValueError(
            f'{where}model.type={kind!r} has {why}, but a method replaces an EncoderDecoder. In a '
            f'copy, {remedy if cascade else "take an EncoderDecoder"}'
        )
    if 'dataset' not in cfg.get('train_dataloader', {}):
        raise ValueError(f'{where}no train_dataloader.dataset: give a whole config, not a part')
    if cfg.train_cfg.get('max_iters') is None:
        raise ValueError(
            f'{where}train_cfg counts epochs, but streams of labeled and unlabeled images have no '
            "common one. In a copy, train_cfg = dict(type='IterBasedTrainLoop', max_iters=..., "
            'val_interval=...)'
        )
    constructor = cfg.get('optim_wrapper', {}).get('constructor')
    if method.optimizer and constructor:
        raise ValueError(
            f'{where}optim_wrapper.constructor={constructor!r}, but {method.name} needs '
            f'{method.optimizer["constructor"]!r}: give a method with one network, or remove it'
        )


def _pipeline(dataset: Mapping[str, Any]) -> list[dict]:
    """The pipeline of the first data set inside."""
    for part in _parts(dataset):
        if part.get('pipeline'):
            return list(part['pipeline'])
    return []


def _parts(dataset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield dataset
    for key in ('dataset', 'datasets'):
        inner = dataset.get(key, [])
        for part in inner if isinstance(inner, Sequence) else [inner]:
            yield from _parts(part)


def _crop_size(cfg: Config, base: Path) -> tuple[int, int]:
    """Height and width of training crops."""
    crops = [t['crop_size'] for t in _pipeline(cfg.train_dataloader.dataset) if 'crop_size' in t]
    sizes = [*crops, cfg.model.get('data_preprocessor', {}).get('size')]
    if not sizes[0]:
        raise ValueError(
            f'{str(base)!r}: training images have no common size: add a RandomCrop to the pipeline '
            'and its crop_size as size to data_preprocessor'
        )
    return (sizes[0],) * 2 if isinstance(sizes[0], int) else tuple(sizes[0])


def _measured_grid(cfg: Config, base: Path, crop: tuple[int, int]) -> tuple[Grid, int]:
    """The grid, by the largest stride of the backbone's maps; and the side of a dry run, pixels."""
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    try:
        backbone = MODELS.build(cfg.model.backbone)
        backbone.eval()  # some of mmseg's return None
        side = 256
        try:
            strides = _strides(backbone, _zeros(cfg, side))
        except Exception:  # of a network that is made for one size
            side = max(crop)
            strides = _strides(backbone, _zeros(cfg, side))
    except Exception as error:
        raise ValueError(
            f'{str(base)!r}: cannot run the backbone {cfg.model.backbone.type}: {error}'
        ) from error
    return Grid(max(strides), int(bool(cfg.model.decode_head.get('align_corners', False)))), side


def _zeros(cfg: Config, side: int) -> torch.Tensor:
    channels = len(cfg.model.get('data_preprocessor', {}).get('mean') or (0, 0, 0))
    return torch.zeros(1, channels, side, side)


@torch.no_grad()
def _strides(backbone: Any, image: torch.Tensor) -> list[int]:
    """Of the maps (B, C, h, w), lists in lists too."""
    todo, strides = [backbone(image)], []
    while todo:
        part = todo.pop()
        if torch.is_tensor(part):
            strides += [round(image.shape[-1] / part.shape[-1])] * (part.ndim == 4)
        else:
            todo += list(part)
    return strides


def _shared(
    cfg: Config, base: Path, method: Method, grid: Grid, crop: tuple[int, int]
) -> dict[str, Any]:
    """Settings of the method's config and of the baseline's, by name; strings are Python text."""
    imports = cfg.get('custom_imports', {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    before = cfg.model.get('data_preprocessor', {})
    preprocessor: dict[str, Any] = dict(type='SemiDataPreprocessor', grid=grid._asdict())
    for name, value in (('size', crop), ('seg_pad_val', 255), ('test_cfg', None)):
        if before.get(name) != value:
            preprocessor[name] = value
    others = '*_base_.custom_hooks, ' if cfg.get('custom_hooks') else ''
    return dict(
        _base_=repr(os.path.abspath(base)),
        custom_imports=dict(
            imports=[*imports, *['mmseg_u2pl'] * ('mmseg_u2pl' not in imports)],
            allow_failed_imports=False,
        ),
        **({'custom_hooks': f'[{others}{BALANCE}]'} if method.balanced else {}),
        val_cfg=dict(_delete_=True, type='PredictorsValLoop'),
        test_cfg=dict(_delete_=True, type='PredictorsTestLoop'),
        model=dict(data_preprocessor=preprocessor),
    )


def _text(
    cfg: Config,
    shared: dict[str, Any],
    best: str,
    group: int,
    unlabeled: dict[str, Any] | None = None,
    model: Mapping[str, Any] = {},
    optimizer: Mapping[str, Any] = {},
) -> str:
    """A child with ``group`` unlabeled images for each labeled one."""
    checkpoint: dict[str, Any] = dict(save_best=best)
    if not cfg.get('default_hooks', {}).get('checkpoint'):
        interval = cfg.train_cfg.get('val_interval', 1000)
        checkpoint.update(type='CheckpointHook', by_epoch=False, interval=interval)
    settings = dict(
        shared,
        default_hooks=dict(HOOKS, checkpoint=checkpoint),
        model=dict(model, **shared['model']),
        **(dict(optim_wrapper=dict(optimizer)) if optimizer else {}),
        train_dataloader=dict(
            batch_size=cfg.train_dataloader.batch_size * (1 + group),
            sampler=dict(_delete_=True, type='SemiSampler', ratio=(1, group)),
            dataset=dict(_delete_=True, type='SemiDataset', labeled='BASE', unlabeled=unlabeled),
        ),
    )
    lines = [
        f'{name} = {value if isinstance(value, str) else call(**value)}'
        for name, value in settings.items()
    ]
    text = '\n'.join(lines) + '\n'
    return text.replace("labeled='BASE'", 'labeled=_base_.train_dataloader.dataset')


def _unlabeled(cfg: Config, folder: Path) -> dict[str, Any]:
    """``UnlabeledDataset`` with the geometric transforms of the base's training pipeline."""
    kept = [
        {key: value for key, value in transform.items() if key != 'cat_max_ratio'}
        for transform in _pipeline(cfg.train_dataloader.dataset)
        if transform['type'] not in WITHOUT_MASKS
    ]
    pipeline = [*kept[:1], dict(type='AddValidityMap'), *kept[1:]]
    images = dict(img_path=os.path.abspath(folder))
    return dict(type='UnlabeledDataset', data_prefix=images, pipeline=pipeline)


def _not_labeled(cfg: Config, folder: Path) -> list[str]:
    """Names of the folder's images, if some are labeled images of the base; else an empty list."""
    labeled: set[str] = set()
    here = os.path.realpath(folder)
    for part in _parts(cfg.train_dataloader.dataset):
        images = part.get('data_prefix', {}).get('img_path')
        place = os.path.realpath(os.path.join(part.get('data_root') or '', images or ''))
        inside = os.path.commonpath([here, place]) in (here, place)
        if images is not None and inside and os.path.isdir(place):
            dataset = DATASETS.build({**part, 'pipeline': []})
            paths = (dataset.get_data_info(i)['img_path'] for i in range(len(dataset)))
            labeled.update(map(os.path.realpath, paths))
    names = image_names(folder)
    rest = [name for name in names if os.path.realpath(folder / name) not in labeled]
    if not rest:
        raise ValueError(f'--unlabeled {str(folder)!r}: no image that the config does not label')
    return rest if len(rest) < len(names) else []


@torch.no_grad()
def _check_model(text: str, where: str, side: int) -> None:
    """Raise ValueError if the model of a child cannot be built, or its head cannot be used."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'child.py')
        path.write_text(text, encoding='utf-8')
        cfg = Config.fromfile(path)
    remedy = 'give the config another decode head'
    if cfg.model.get('contrastive'):
        remedy += ', or a method without the contrastive loss: --method fixmatch_balanced'
    try:
        model = MODELS.build(cfg.model)
        model.eval()
        model.decode_head.train()  # some return more in training
        logits, _ = model.decode(model, model.extract_feat(_zeros(cfg, side).repeat(2, 1, 1, 1)))
        if not torch.is_tensor(logits):
            raise TypeError(f'it returns a {type(logits).__name__}, not logits')
    except Exception as error:
        kind = cfg.model.decode_head.type
        why = ' '.join(str(error).split())
        raise ValueError(f'{where}: decode_head {kind} cannot be used: {why}; {remedy}') from error
