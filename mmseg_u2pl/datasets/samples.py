"""Samples of a data set: drawn with a seed, and with the image's name where a pipeline fails."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor

_DRAWS = 8  # of an image: sizes and crops of augmentations are random


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run with Python's and numpy's generators at ``seed``, then put both back."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - what mmcv's transforms use
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def sample_of(dataset: Any, index: int) -> dict[str, Any]:
    """A sample as the data set's pipeline makes it.

    Raises:
        ValueError: The pipeline fails; names the image and the mask.
    """
    try:
        return dataset[index]
    except Exception as error:
        info = dataset.get_data_info(index)
        mask = f' with the mask {info["seg_map_path"]!r}' if 'seg_map_path' in info else ''
        raise ValueError(
            f'the pipeline fails at the image {info["img_path"]!r}{mask}: '
            f'{type(error).__name__}: {error}. If a file is damaged, replace it, or take its '
            'line out of the list; tools/check_data.py CONFIG names all damaged files'
        ) from error


def drawn_images(dataset: Any, indices: Iterable[int]) -> list[Tensor]:
    """Images (C, H, W) that the pipeline makes of some files; errors as :func:`sample_of`."""
    images = []
    for index in indices:
        for seed in range(_DRAWS):
            with seeded(seed):
                image = sample_of(dataset, index).get('inputs')
            if isinstance(image, Tensor):  # test-time augmentation makes lists
                images.append(image)
    return images
