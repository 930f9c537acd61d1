"""Count the labels in the masks of a data set, as its loading step leaves them."""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import LoadAnnotations
from mmengine.dist import all_gather_object, get_dist_info

from .checks import color_mask, leaves, loading_step, raise_problems
from .threads import in_threads


class Labels(NamedTuple):
    """What the masks of a data set hold.

    Attributes:
        counts: Pixels of each label, int64 (256,).
        examples: For each label that occurs, the first mask that has it.
    """

    counts: np.ndarray
    examples: dict[int, str]

    def __add__(self, other: Labels) -> Labels:  # type: ignore[override]
        """Both together; examples of the first come first."""
        return Labels(self.counts + other.counts, {**other.examples, **self.examples})


def count_labels(dataset: Any, where: str) -> Labels:
    """Load every mask of a labeled data set once.

    Masks go through the data set's loading step, so ``reduce_zero_label``, ``label_map`` and
    :class:`LoadMask` apply. A mask that several images share counts for each. In a distributed
    run all processes call this together: each loads a part of the masks, all get the sum.

    Args:
        dataset: A built one, or a wrapper such as ``ConcatDataset``.
        where: Its place in the user's config, for messages.

    Raises:
        ValueError: The pipeline loads no masks, or masks cannot be loaded: names files and reasons.
    """
    parts = [_count(leaf, place) for place, leaf in leaves(dataset, where)]
    return reduce(Labels.__add__, parts)


def read_labels(info: dict, load: Any) -> np.ndarray:
    """The label map uint8 (H, W) of an image.

    Args:
        info: What the data set knows of the image: ``get_data_info``.
        load: The loading step of its pipeline.

    Raises:
        ValueError: Names the mask and why it cannot be loaded.
    """
    path = info['seg_map_path']
    try:
        labels = load(dict(info, seg_fields=[]))['gt_seg_map']
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, cv2.error, ...
        text = str(error) or repr(error)
        raise ValueError(text if path in text else f'mask {path!r}: {text}') from error
    if labels.ndim != 2:
        raise ValueError(color_mask(path))
    if labels.max() > 255:
        raise ValueError(f'mask {path!r} holds the label {labels.max()}: labels are 0 ... 255')
    return labels


def _count(dataset: Any, where: str) -> Labels:
    load = loading_step(dataset, LoadAnnotations)
    if load is None or not len(dataset) or 'seg_map_path' not in dataset.get_data_info(0):
        raise ValueError(
            f'{where}: the labeled pipeline has no LoadAnnotations step, or data_prefix no '
            'seg_map_path: without masks nothing is labeled'
        )

    def count(index: int) -> np.ndarray | str:
        try:
            return np.bincount(read_labels(dataset.get_data_info(index), load).ravel())
        except ValueError as error:
            return str(error)

    rank, world_size = get_dist_info()
    indices = range(rank, len(dataset), world_size)
    total = np.zeros(256, dtype=np.int64)
    first: dict[int, int] = {}
    problems: list[tuple[int, str]] = []
    for index, result in zip(indices, in_threads(count, indices, 'masks'), strict=True):
        if isinstance(result, str):
            problems.append((index, result))
            continue
        total[: len(result)] += result
        for label in np.flatnonzero(result).tolist():
            first.setdefault(label, index)
    gathered = all_gather_object((total, first, problems))
    found = sorted(problem for _, _, part in gathered for problem in part)
    raise_problems(where, [text for _, text in found])
    for _, other, _ in gathered:
        first.update((label, min(i, first.get(label, i))) for label, i in other.items())
    examples = {label: dataset.get_data_info(i)['seg_map_path'] for label, i in first.items()}
    return Labels(sum(part for part, _, _ in gathered), dict(sorted(examples.items())))
