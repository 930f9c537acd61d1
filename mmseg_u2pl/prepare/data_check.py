"""Decode every image and mask of a config, and say what is wrong with them."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from ..datasets.checks import check_dataset_config, leaves, loading_step
from ..datasets.headers import require_size
from ..datasets.labels import read_labels
from ..datasets.threads import in_threads

IGNORE = 255
SHOWN = 3  # sizes


class DataSetReport(NamedTuple):
    """What was found in a data set.

    Attributes:
        name: ``'labeled'``, ``'unlabeled'``, ``'val'`` or ``'test'``.
        num_images: Images.
        num_masks: Masks that could be decoded.
        sizes: Width x height, the most frequent first.
        class_shares: Of the labeled pixels by class, sum 1; empty without masks.
        problems: One text a problem, which names the file.
    """

    name: str
    num_images: int
    num_masks: int
    sizes: str
    class_shares: dict[str, float]
    problems: list[str]


class _Decoded(NamedTuple):
    size: tuple[int, int] | None
    counts: np.ndarray | None  # (256,)
    problems: list[str]


def check_data(cfg: Config) -> list[DataSetReport]:
    """Reports of the training, validation and test data of a config, with progress bars.

    A test set of the validation set's config is not decoded again.

    Raises:
        FileNotFoundError: A folder or list is missing.
        ValueError: A list has a bad line; the config has no data.
    """
    configs: dict[str, Any] = {}
    for loader in ('train', 'val', 'test'):
        config = (cfg.get(f'{loader}_dataloader') or {}).get('dataset')
        if config is None or config in configs.values():
            continue
        if config.get('type') == 'SemiDataset':
            configs.update((k, config[k]) for k in ('labeled', 'unlabeled') if config.get(k))
        else:
            configs['labeled' if loader == 'train' else loader] = config
    if not configs:
        raise ValueError('the config has no train_dataloader, val_dataloader or test_dataloader')
    for name, config in configs.items():
        check_dataset_config(config, name)
    num_classes = _num_classes(cfg)
    return [_report(name, DATASETS.build(config), num_classes) for name, config in configs.items()]


def _num_classes(cfg: Config) -> int | None:
    head = (cfg.get('model') or {}).get('decode_head') or {}
    return (head[-1] if isinstance(head, list) else head).get('num_classes')


def _report(name: str, dataset: Any, num_classes: int | None) -> DataSetReport:
    classes = dataset.metainfo.get('classes') or ()
    sizes: Counter[tuple[int, int]] = Counter()
    counts = np.zeros(256, dtype=np.int64)
    problems: list[str] = []
    masks = 0
    limit = num_classes or len(classes) or IGNORE
    for _, leaf in leaves(dataset):

        def decode(index: int, leaf: Any = leaf) -> _Decoded:
            return _decode(leaf, index, limit)

        for decoded in in_threads(decode, range(len(leaf)), name):
            problems += decoded.problems
            if decoded.size:
                sizes[decoded.size] += 1
            if decoded.counts is not None:
                masks += 1
                counts += decoded.counts
    counts = counts[:limit]
    names = [str(c) for c in (classes or range(limit))]
    shares = dict(zip(names, (counts / max(1, counts.sum())).tolist(), strict=False))
    return DataSetReport(
        name, sum(sizes.values()), masks, _sizes(sizes), shares if masks else {}, problems
    )


def _decode(dataset: Any, index: int, num_classes: int) -> _Decoded:
    """An image and its mask, as the pipeline's loading steps load them."""
    info = dataset.get_data_info(index)
    image, problems, size, counts = info['img_path'], [], None, None
    load_image = loading_step(dataset, LoadImageFromFile)
    load_mask = loading_step(dataset, LoadAnnotations)
    try:
        if load_image is not None:
            _decode_whole(image)
            height, width = load_image(dict(info))['img'].shape[:2]
            size = (width, height)
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, cv2.error, ...
        problems.append(f'{image!r}: {error or repr(error)}')
    try:
        if load_mask is not None and 'seg_map_path' in info:
            mask = info['seg_map_path']
            labels = read_labels(info, load_mask)
            if size is not None:
                require_size(mask, labels.shape[::-1], image, size)
            counts = np.bincount(labels.ravel(), minlength=256)
            outside = np.flatnonzero(counts[num_classes:IGNORE])
            if outside.size:
                problems.append(
                    f'{mask!r}: the label {num_classes + outside[0]}, but the classes are '
                    f'0 ... {num_classes - 1}, and {IGNORE} means ignore'
                )
    except ValueError as error:
        problems.append(str(error))
    return _Decoded(size, counts, problems)


def _decode_whole(path: str) -> None:
    """Raise where OpenCV would fill what is missing of a file with gray, without an error."""
    try:
        with Image.open(path) as image:
            image.draft('L', (1, 1))  # an eighth of a JPEG's resolution reads the whole file
            image.load()
    except (Image.UnidentifiedImageError, Image.DecompressionBombError):
        return  # the loading step may know more formats and larger images


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    shown = [f'{w}x{h}' for (w, h), _ in sizes.most_common(SHOWN)]
    return ', '.join(shown) + (f' and {len(sizes) - SHOWN} more' if len(sizes) > SHOWN else '')
