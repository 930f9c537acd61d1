"""Make any mmseg config semi-supervised: a child config of it, and its supervised baseline."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch.utils._pytree import tree_flatten

from ...datasets.checks import image_paths, leaves
from ...datasets.files import list_text, require_outside
from ...models.data_preprocessor import Grid
from ..index_masks import find_images
from .methods import Method
from .text import Code, header, merged, method_and_baseline

WITHOUT_MASKS = ('LoadAnnotations', 'LoadMask', 'GenerateEdge', 'PhotoMetricDistortion')
"""Transforms that an unlabeled pipeline leaves out; the method adds its own photometric view."""


def child_texts(
    base: Path, unlabeled: Path, method: Method, out: Path, command: str
) -> dict[Path, str]:
    """Texts of the child, of ``<out>_supervised.py`` and of ``<out>_unlabeled.txt``, by path.

    The list names the images of the folder ``unlabeled`` that the base does not label.

    Raises:
        FileNotFoundError: No such config or folder.
        ValueError: Names what of the base the method cannot use, and the remedy; the base itself
            would be replaced.
    """
    images = find_images(unlabeled)
    cfg = _load(base)
    pipeline = _pipeline(cfg.train_dataloader.dataset)
    sizes = [transform['crop_size'] for transform in pipeline if 'crop_size' in transform]
    size = sizes[0] if sizes else cfg.model.get('data_preprocessor', {}).get('size')
    if not size:
        raise ValueError(f'{str(base)!r}: training images have no common size: add a RandomCrop')
    crop = (size, size) if isinstance(size, int) else tuple(size)
    model = method.settings(cfg.train_cfg.max_iters, crop)
    stride = _measured_stride(cfg, model, f'{str(base)!r} with {method.name}')
    grid = Grid(stride, int(bool(cfg.model.decode_head.get('align_corners'))))
    grid.check(crop, f'{str(base)!r}: crop_size')
    geometric = [
        {key: value for key, value in transform.items() if key != 'cat_max_ratio'}
        for transform in pipeline
        if transform['type'] not in WITHOUT_MASKS
    ]
    used: set[str] = set()
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if config := (cfg.get(loader) or {}).get('dataset'):
            dataset = DATASETS.build(config)
            used |= image_paths(dataset)
            for _, leaf in leaves(dataset):
                if masks := leaf.data_prefix.get('seg_map_path'):
                    require_outside(unlabeled, masks)
    others = [stem for stem, path in images.items() if os.path.realpath(path) not in used]
    if not others:
        raise ValueError(
            f'--unlabeled {str(unlabeled)!r}: the config labels or scores all its images'
        )
    path = out.with_name(f'{out.stem}_unlabeled.txt')
    data = dict(
        type='UnlabeledDataset',
        data_prefix=dict(img_path=os.path.abspath(unlabeled)),
        ann_file=os.path.abspath(path),
        pipeline=[*geometric[:1], dict(type='AddValidityMap'), *geometric[1:]],
    )
    batches = cfg.train_dataloader.batch_size, cfg.get('auto_scale_lr', {}).get('base_batch_size')
    shared = _shared(cfg, method, grid, crop)
    parent = os.path.abspath(base)
    configs = method_and_baseline(out, parent, method, model, data, batches, shared)
    if base.resolve() in map(Path.resolve, configs):
        raise ValueError(
            f'--out {str(out)!r} would replace --base {str(base)!r}: choose another --out'
        )
    texts = {config: header(command) + text for config, text in configs.items()}
    return {**texts, path: list_text(others).decode()}


def _load(base: Path) -> Config:
    """The config. Raises ValueError for what the method cannot work with."""
    try:
        cfg = Config.fromfile(base)
    except Exception as error:
        raise ValueError(f'cannot load {str(base)!r}: {type(error).__name__}: {error}') from error
    kind = cfg.get('model', {}).get('type')
    if kind != 'EncoderDecoder' or 'dataset' not in cfg.get('train_dataloader', {}):
        raise ValueError(
            f'{str(base)!r}: model.type={kind!r}, but a method replaces an EncoderDecoder: give a '
            'whole config, with a train_dataloader and one decode head, not a cascade'
        )
    if cfg.train_cfg.get('max_iters') is None:
        raise ValueError(
            f'{str(base)!r}: train_cfg counts epochs, which labeled and unlabeled images do not '
            'share: set an IterBasedTrainLoop with max_iters and val_interval'
        )
    return cfg


def _pipeline(dataset: Mapping[str, Any]) -> list[dict]:
    """That of a data set, or of the first one that it wraps and that has any."""
    wrapped = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', [])
    return dataset.get('pipeline') or next(filter(None, map(_pipeline, wrapped)), [])


@torch.no_grad()
def _measured_stride(cfg: Config, model: Mapping[str, Any], where: str) -> int:
    """The largest stride of the backbone's maps (B, C, h, w), in a dry run of the method's model."""
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    preprocessor = dict(type='SemiDataPreprocessor', grid=dict(stride=1))
    parts = merged(merged(cfg.model, model), dict(data_preprocessor=preprocessor))
    channels = len(parts['data_preprocessor'].get('mean') or (0, 0, 0))
    try:
        network = MODELS.build(parts)
        network.eval()  # some of mmseg's return None
        network.decode_head.train()  # some return more in training
        maps = network.backbone(torch.zeros(2, channels, 256, 256))
        features = network.neck(maps) if network.with_neck else maps
        logits, _ = network.decode(network, features)
        if not torch.is_tensor(logits):
            raise TypeError(f'the head returns a {type(logits).__name__}, not logits')
    except Exception as error:
        parts_of = f'{cfg.model.backbone.type} and {cfg.model.decode_head.type}'
        remedy = 'take another decode head, or a method without contrastive loss'
        why = ' '.join(str(error).split())
        raise ValueError(f'{where}: {parts_of} cannot be used: {why}; {remedy}') from error
    maps, _ = tree_flatten(maps)  # some backbones return lists in lists
    return max(round(256 / part.shape[-1]) for part in maps if part.ndim == 4)


def _shared(cfg: Config, method: Method, grid: Grid, crop: tuple[int, int]) -> dict[str, Any]:
    """Settings of the method's config and of the baseline's."""
    imports = cfg.get('custom_imports', {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else imports
    optimizers = dict(constructor='SemiOptimWrapperConstructor')
    if rules := cfg.get('optim_wrapper', {}).get('constructor'):
        optimizers['rules'] = rules  # those of the config, for each network
    preprocessor = dict(type='SemiDataPreprocessor', grid=grid._asdict(), size=crop)
    logger = cfg.get('default_hooks', {}).get('logger', {}).get('type', 'LoggerHook')
    shared: dict[str, Any] = dict(
        custom_imports=dict(imports=[*imports, 'mmseg_u2pl'], allow_failed_imports=False),
        val_cfg=dict(_delete_=True, type='PredictorsValLoop'),
        test_cfg=dict(_delete_=True, type='PredictorsTestLoop'),
        optim_wrapper=optimizers,
        model=dict(data_preprocessor=dict(preprocessor, seg_pad_val=255, test_cfg=None)),
        default_hooks=dict(
            semi_training=dict(type='SemiTrainingHook'),
            protocol=dict(type='ProtocolHook'),
            resume_batch=dict(type='ResumeBatchHook'),
            watch=dict(type='WatchHook'),
            logger=dict(type=logger, log_metric_by_epoch=False),
        ),
        log_processor=dict(by_epoch=False),
    )
    if method.balanced:
        others = [Code('*_base_.custom_hooks')] if cfg.get('custom_hooks') else []
        shared['custom_hooks'] = [*others, dict(type='ClassWeightsHook')]
    return shared
