"""Find a user's mistake in the data before the first training step, and say what to do."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from .folder import listed_images
from .scan import UndecodableError, in_threads, infos, scan_images, scan_masks

_NAMED = 10  # files that a message names, before it only counts
_KEYS = ('img_path', 'seg_map_path')
_PORTION = 65_536  # files looked up at a time, whose paths are kept


def check_dataset_config(config: dict, where: str) -> None:
    """The data root, folders and list of a data set config exist.

    Args:
        config: With mmseg's keys ``data_root``, ``data_prefix``, ``ann_file``.
        where: Its place in the user's config, for the message.

    Raises:
        FileNotFoundError: Names what is missing and which key to change.
        ValueError: The list has no lines, or one that leaves the image folder or comes twice.
    """
    root = Path(config.get('data_root') or '')
    if not root.exists():
        raise FileNotFoundError(
            f'{where}.data_root: no folder {str(root)!r} (from {Path.cwd()}). Put or link the '
            'data there, or change the root as the head of the data set config says'
        )
    for key, folder in config.get('data_prefix', {}).items():
        if folder is not None and not (root / folder).is_dir():
            raise FileNotFoundError(f'{where}.data_prefix.{key}: no folder {str(root / folder)!r}')
    ann_file = config.get('ann_file')
    if not ann_file:
        return
    path = root / ann_file
    if not path.is_file():
        makers = (
            '. tools/dataset_converters/import_splits.py imports published lists, '
            'tools/make_splits.py makes your own'
        )
        raise FileNotFoundError(
            f'{where}.ann_file: no list {str(path)!r}. It names one image a line, its path in '
            f'the image folder{makers if "splits" in path.parts else ""}'
        )
    folder = root / (config.get('data_prefix', {}).get('img_path') or '')
    try:  # files are looked for once the data set is built, by its own rules
        listed_images(path, folder, img_suffix='')
    except ValueError as error:
        raise ValueError(f'{where}.ann_file: {error}') from None


def leaves(dataset: Any) -> Iterator[Any]:
    """The data sets inside a ``SemiDataset`` or mmengine's wrappers, ConcatDataset and such."""
    inner = _inner(dataset)
    for part in inner:
        yield from leaves(part)
    if not inner:
        yield dataset


def _inner(dataset: Any) -> list[Any]:
    for key in ('parts', 'datasets'):
        if hasattr(dataset, key):
            return list(getattr(dataset, key))
    return [dataset.dataset] if hasattr(dataset, 'dataset') else []


def check_files(dataset: Any, where: str) -> None:
    """Every image and mask of a built data set is there.

    Raises:
        FileNotFoundError: Names the first missing file and how many more.
        ValueError: The data set is empty.
    """
    for leaf in leaves(dataset):
        _check_files(leaf, where)


def _check_files(dataset: Any, where: str) -> None:
    paths = (info[key] for info in infos(dataset) for key in _KEYS if key in info)
    count, missing = 0, []
    while portion := list(islice(paths, _PORTION)):
        found = in_threads(os.path.isfile, portion)
        missing += [path for path, there in zip(portion, found, strict=True) if not there]
        count += len(portion)
    listed = f' the list {dataset.ann_file!r}' if dataset.ann_file else ''
    if not count:
        raise ValueError(
            f'{where}: no image found in {dataset.data_prefix.get("img_path")!r}'
            + (f' by{listed}' if listed else '')
        )
    if missing:
        raise FileNotFoundError(
            f'{where}: {len(missing)} of {count} files are missing, the first is '
            f'{missing[0]!r}. Check data_prefix, img_suffix and seg_map_suffix'
            + (f' against{listed}' if listed else '')
        )


def check_images(dataset: Any, where: str, skip_bad: int = 0) -> None:
    """Every image can be decoded, every mask can be loaded and is of its image's size.

    In a distributed run the main process looks and tells the others, so all call this together.

    Args:
        dataset: A built one; masks are read of those parts whose pipeline loads masks.
        where: Its place in the user's config, for the message.
        skip_bad: Up to so many images that cannot be decoded, or whose mask cannot, are taken
            out of the data set, with a warning; the same ones in every process.

    Raises:
        ValueError: More cannot be decoded, or none is left of a part; a mask is of another size
            than its image or its loading step refuses it. Names the files and the remedy.
    """
    found: list[Any] = [None]
    if is_main_process():
        try:
            found = [_find_bad(dataset, where)]
        except Exception as error:  # the others wait for an answer
            broadcast_object_list([str(error)])
            raise
    broadcast_object_list(found)
    bad = found[0]
    if isinstance(bad, str):
        raise ValueError(bad)
    if not bad:
        return
    files = '\n'.join(f'  {path!r}: {reason}' for path, reason in list(bad.items())[:_NAMED])
    files += f'\n  and {len(bad) - _NAMED} more' if len(bad) > _NAMED else ''
    if len(bad) > skip_bad:
        raise ValueError(
            f'{where}: {len(bad)} images cannot be used:\n{files}\nReplace them, or train without '
            f'them: tools/train.py --skip-bad {len(bad)} (skip_bad={len(bad)} of the SemiDataset)'
        )
    _drop(dataset, set(bad), where)
    print_log(
        f'{where}: {len(bad)} images cannot be used and are left out:\n{files}',
        'current',
        logging.WARNING,
    )


def _find_bad(dataset: Any, where: str) -> dict[str, str]:
    """Images that cannot be decoded, or whose mask cannot, and why."""
    bad: dict[str, str] = {}
    wrong: list[str] = []
    for leaf in leaves(dataset):
        images, masks = scan_images(leaf), scan_masks(leaf)
        sizes = {} if images is None else images.facts
        if images is not None:
            bad.update({path: str(error) for path, error in images.errors.items()})
        if masks is None:
            continue
        for info in infos(leaf):
            image, mask = info['img_path'], info['seg_map_path']
            error, size = masks.errors.get(mask), sizes.get(image)
            if isinstance(error, UndecodableError):
                bad.setdefault(image, f'its mask {mask!r}: {error}')
            elif error is not None:
                wrong.append(str(error))
            elif size is not None and size != masks.facts[mask][:2]:
                width, height = masks.facts[mask][:2]
                wrong.append(
                    f'mask {mask!r} is {width}x{height} pixels, but its image {image!r} '
                    f'{size[0]}x{size[1]} (EXIF orientation applied): they must be the same size'
                )
    if wrong:
        count = f' ({len(wrong)} masks are wrong)' if wrong[1:] else ''
        raise ValueError(f'{where}: {wrong[0]}{count}')
    return bad


def _drop(dataset: Any, images: set[str], where: str) -> None:
    """Take images out of the data sets inside, and let wrappers count again.

    Raises:
        ValueError: None would be left.
    """
    inner = _inner(dataset)
    for part in inner:
        _drop(part, images, where)
    if inner and hasattr(dataset, 'full_init'):
        dataset._fully_initialized = False
        dataset.full_init()
    elif not inner:
        kept = [i for i, info in enumerate(infos(dataset)) if info['img_path'] not in images]
        if not kept:
            folder = dataset.data_prefix['img_path']
            raise ValueError(f'{where}: no image of {folder!r} can be used: replace them')
        if len(kept) < len(dataset):
            dataset.get_subset_(kept)


def check_labels(dataset: Any, num_classes: int, ignore_index: int = 255) -> None:
    """Every mask of a labeled data set holds only 0 ... C−1 and ``ignore_index``.

    Warns:
        UserWarning: A class has no labeled pixel.

    Raises:
        ValueError: Names the file, the value and the remedy.
    """
    seen: set[int] = set()
    for path, pixels in _labels(dataset):
        values = {label for label, _ in pixels}
        seen |= values
        outside = sorted(v for v in values if v >= num_classes and v != ignore_index)
        if outside:
            raise ValueError(
                f'mask {path!r} holds the label {outside[0]}, but the model has the '
                f'classes 0 ... {num_classes - 1} and {ignore_index} means ignore. Set '
                'decode_head.num_classes, or map the values (a 0/255 mask needs 255 → 1): '
                "dict(type='LoadMask', values={0: 0, 255: 1}) instead of LoadAnnotations"
            )
    if seen <= {0, ignore_index} and ignore_index in seen:
        first = next(infos(next(leaves(dataset))))['seg_map_path']
        raise ValueError(
            f'all masks, {first!r} and on, hold nothing but 0 and {ignore_index}, which means '
            'ignore: only class 0 would be learnt. Map the values (a 0/255 mask needs 255 → 1): '
            "dict(type='LoadMask', values={0: 0, 255: 1}) instead of LoadAnnotations"
        )
    names = (dataset.metainfo.get('classes') or range(num_classes))[:num_classes]
    empty = [str(name) for label, name in enumerate(names) if label not in seen]
    if empty:
        warnings.warn(
            f'no labeled pixel of {", ".join(empty)}: {len(empty)} of {num_classes} classes cannot '
            'be learnt from these masks. Choose labeled images that show them',
            stacklevel=2,
        )


def label_counts(dataset: Any) -> np.ndarray:
    """Pixels of each label 0 ... 255 in all masks of a labeled data set, long (256,).

    Raises:
        ValueError: The data set's pipeline loads no masks.
    """
    counts = np.zeros(256, dtype=np.int64)
    for _, pixels in _labels(dataset):
        labels, numbers = np.array(pixels, dtype=np.int64).T
        counts[labels[labels < 256]] += numbers[labels < 256]
    return counts


def _labels(dataset: Any) -> Iterator[tuple[str, list[list[int]]]]:
    """Path and [[label, pixels], ...] of every mask, as the loading step leaves it.

    A mask that several images share counts for each.
    """
    for leaf in leaves(dataset):
        masks = scan_masks(leaf)
        if masks is None:
            raise ValueError(
                'the labeled pipeline has no LoadAnnotations step: without masks nothing is labeled'
            )
        for path, error in masks.errors.items():
            raise ValueError(f'mask {path!r} cannot be read: {error}') from error
        for info in infos(leaf):
            path = info['seg_map_path']
            yield path, masks.facts[path][2]
