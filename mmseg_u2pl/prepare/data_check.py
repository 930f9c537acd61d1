"""Decode every image and mask of a config, and say what is wrong with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

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


@dataclass
class DataSetReport:
    """What was found in a data set.

    Args:
        name: ``'labeled'``, ``'unlabeled'``, ``'val'`` or ``'test'``.
        classes: Names of the C classes.
        sizes: Number of decoded images by (width, height).
        num_masks: Masks that could be decoded.
        counts: Pixels of each class in them, int64 (C,).
        problems: One text a problem, which names the file.
    """

    name: str
    classes: list[str]
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    num_masks: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    problems: list[str] = field(default_factory=list)


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
    return [_report(name, DATASETS.build(config)) for name, config in configs.items()]


def _report(name: str, dataset: Any) -> DataSetReport:
    report = DataSetReport(name, [str(c) for c in dataset.metainfo.get('classes') or range(IGNORE)])
    for _, leaf in leaves(dataset):
        decode = partial(_decode, leaf, len(report.classes))
        for size, counts, problems in in_threads(decode, range(len(leaf)), name):
            report.sizes.update([size] if size else [])
            report.num_masks += counts is not None
            report.counts += 0 if counts is None else counts
            report.problems += problems
    report.counts = report.counts[: len(report.classes)]
    return report


def _decode(
    dataset: Any, num_classes: int, index: int
) -> tuple[tuple[int, int] | None, np.ndarray | None, list[str]]:
    """Size of an image and label counts (256,) of its mask, by the pipeline's loading steps."""
    info = dataset.get_data_info(index)
    image, mask = info['img_path'], info.get('seg_map_path')
    load_image = loading_step(dataset, LoadImageFromFile)
    load_mask = loading_step(dataset, LoadAnnotations)
    size, counts, problems = None, None, []
    try:
        if load_image is not None:
            _decode_whole(image)
            height, width = load_image(dict(info))['img'].shape[:2]
            size = (width, height)
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, cv2.error, ...
        problems.append(f'{image!r}: {error or repr(error)}')
    try:
        if load_mask is not None and mask is not None:
            labels = read_labels(info, load_mask)
            require_size(mask, labels.shape[::-1], image, size or labels.shape[::-1])
            counts = np.bincount(labels.ravel(), minlength=256)
            for label in np.flatnonzero(counts[num_classes:IGNORE])[:1] + num_classes:
                raise ValueError(
                    f'{mask!r}: the label {label}, but the classes are 0 ... {num_classes - 1}, '
                    f'and {IGNORE} means ignore'
                )
    except ValueError as error:
        problems.append(str(error))
    return size, counts, problems


def _decode_whole(path: str) -> None:
    """Raise where OpenCV would fill what is missing of a file with gray, without an error."""
    try:
        with Image.open(path) as image:
            image.draft('L', (1, 1))  # an eighth of a JPEG's resolution reads the whole file
            image.load()
    except (Image.UnidentifiedImageError, Image.DecompressionBombError):
        return  # the loading step may know more formats and larger images
