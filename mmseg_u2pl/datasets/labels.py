"""Count the labels in the masks of a data set, as its loading step leaves them."""

from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import LoadAnnotations
from mmengine.dist import all_gather_object, get_dist_info

from .checks import infos, leaves, loading_step, raise_problems
from .files import in_threads
from .masks import color_mask


class Labels(NamedTuple):
    """What the masks of a data set hold.

    Attributes:
        counts: Pixels of each label, int64 (256,).
        examples: For each label that occurs, a mask that has it.
    """

    counts: np.ndarray
    examples: dict[int, str]


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
    items = []
    for place, leaf in leaves(dataset, where):
        load = loading_step(leaf, LoadAnnotations)
        items += [(info, load) for info in infos(leaf)]
        if load is None or any('seg_map_path' not in info for info, _ in items[-1:]):
            raise ValueError(
                f'{place}: the labeled pipeline has no LoadAnnotations step, or data_prefix no '
                'seg_map_path: without masks nothing is labeled'
            )

    def count(index: int) -> np.ndarray | str:
        try:
            return np.bincount(read_labels(*items[index]).ravel(), minlength=256)
        except ValueError as error:
            return str(error)

    rank, world_size = get_dist_info()
    mine = range(rank, len(items), world_size)
    counts = np.zeros(256, dtype=np.int64)
    examples: dict[int, str] = {}
    problems: list[str] = []
    for index, found in zip(mine, in_threads(count, mine, 'masks'), strict=True):
        if isinstance(found, str):
            problems.append(found)
            continue
        counts += found
        for label in np.flatnonzero(found).tolist():
            examples.setdefault(label, items[index][0]['seg_map_path'])
    parts = all_gather_object((counts, examples, problems))
    raise_problems(where, [text for part in parts for text in part[2]])
    examples = dict(sorted(item for part in parts for item in part[1].items()))
    return Labels(sum(part[0] for part in parts), examples)


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
        raise ValueError(color_mask(path, 'color'))
    if labels.max() > 255:
        raise ValueError(f'mask {path!r} holds the label {labels.max()}: labels are 0 ... 255')
    return labels
