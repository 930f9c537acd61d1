"""Find a user's mistake in the data before the first training step, and say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np


def check_dataset_config(config: dict, where: str) -> None:
    """The data root, folders and list of a data set config exist.

    Args:
        config: With mmseg's keys ``data_root``, ``data_prefix``, ``ann_file``.
        where: Its place in the user's config, for the message.

    Raises:
        FileNotFoundError: Names what is missing and which key to change.
        ValueError: The list has no lines.
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
        raise FileNotFoundError(
            f'{where}.ann_file: no list {str(path)!r}. It names one image a line, without '
            'folder and suffix'
        )
    if not path.read_text().strip():
        raise ValueError(f'{where}.ann_file: the list {str(path)!r} is empty')


def leaves(dataset: Any) -> Iterator[Any]:
    """The data sets inside mmengine's wrappers (ConcatDataset, RepeatDataset, ...)."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from leaves(part)
    elif hasattr(dataset, 'dataset'):
        yield from leaves(dataset.dataset)
    else:
        yield dataset


def check_files(dataset: Any, where: str) -> None:
    """Every image and mask of a built data set is there.

    Raises:
        FileNotFoundError: Names the first missing file and how many more.
        ValueError: The data set is empty.
    """
    for leaf in leaves(dataset):
        _check_files(leaf, where)


def _check_files(dataset: Any, where: str) -> None:
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    if not infos:
        raise ValueError(
            f'{where}: no image found in {dataset.data_prefix.get("img_path")!r}'
            + (f' by the list {dataset.ann_file!r}' if dataset.ann_file else '')
        )
    paths = [info[key] for info in infos for key in ('img_path', 'seg_map_path') if key in info]
    with ThreadPoolExecutor() as pool:  # threads: on a network disk each look-up waits
        found = list(pool.map(lambda path: Path(path).is_file(), paths))
    missing = [path for path, there in zip(paths, found, strict=True) if not there]
    if missing:
        raise FileNotFoundError(
            f'{where}: {len(missing)} of {len(paths)} files are missing, the first is '
            f'{missing[0]!r}. Check data_prefix, img_suffix and seg_map_suffix'
            + (f' against the list {dataset.ann_file!r}' if dataset.ann_file else '')
        )


def check_labels(dataset: Any, num_classes: int, ignore_index: int = 255) -> None:
    """Every mask of a labeled data set holds only 0 ... C−1 and ``ignore_index``.

    Masks go through the data set's own loading step, so ``reduce_zero_label`` and class
    mappings count.

    Raises:
        ValueError: Names the file, the value and the remedy.
    """
    seen: set[int] = set()
    for path, counts in _labels(dataset):
        values = np.flatnonzero(counts)
        seen.update(values.tolist())
        outside = values[(values >= num_classes) & (values != ignore_index)]
        if outside.size:
            raise ValueError(
                f'mask {path!r} holds the label {int(outside[0])}, but the model has the '
                f'classes 0 ... {num_classes - 1} and {ignore_index} means ignore. Set '
                'decode_head.num_classes, or map the values (a 0/255 mask needs 255 → 1)'
            )
    if seen <= {0, ignore_index} and ignore_index in seen:
        first = next(leaves(dataset)).get_data_info(0)['seg_map_path']
        raise ValueError(
            f'all masks, {first!r} and on, hold nothing but 0 and {ignore_index}, which means '
            'ignore: only class 0 would be learnt. Map the values (a 0/255 mask needs 255 → 1)'
        )


def label_counts(dataset: Any) -> np.ndarray:
    """Pixels of each label 0 ... 255 in all masks of a labeled data set, long (256,).

    Raises:
        ValueError: The data set's pipeline loads no masks.
    """
    return sum((counts[:256] for _, counts in _labels(dataset)), np.zeros(256, dtype=np.int64))


def _labels(dataset: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Path and pixels of each label (256,) of every mask, as the loading step leaves it."""
    for leaf in leaves(dataset):
        steps = [t for t in leaf.pipeline.transforms if 'LoadAnnotations' in type(t).__name__]
        if not steps:
            raise ValueError(
                'the labeled pipeline has no LoadAnnotations step: without masks nothing is labeled'
            )

        def read(index: int, leaf: Any = leaf, load: Any = steps[0]) -> tuple[str, np.ndarray]:
            info = load(leaf.get_data_info(index))
            return info['seg_map_path'], np.bincount(info['gt_seg_map'].ravel(), minlength=256)

        with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
            yield from pool.map(read, range(len(leaf)))
