"""Read the images of a folder: sizes, depth, and a normalization where they need one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np
from PIL import Image

from ...datasets.files import image_size, in_threads
from ..index_masks import find_images


class Images(NamedTuple):
    """Image files by stem, sorted; widths and heights int64 (N, 2); ``deep``: some have 16 bits."""

    paths: dict[str, Path]
    sizes: np.ndarray
    deep: bool


def read_images(folder: str | Path) -> Images:
    """Sizes and depth of every image below a folder, from the files' headers.

    Raises:
        ValueError: An image that cannot be read or has floating-point values. Also, and
            FileNotFoundError, as :func:`find_images`.
    """

    def read(path: Path) -> tuple[tuple[int, int], str]:
        size = image_size(path)
        with Image.open(path) as file:
            return size, file.mode

    paths = find_images(folder)
    sizes, modes = zip(*in_threads(read, list(paths.values()), 'headers'), strict=True)
    if 'F' in modes:
        path = str(list(paths.values())[modes.index('F')])
        raise ValueError(f'image {path!r} has floating-point values: save it with 8 bits a channel')
    deep = any(mode.startswith('I') for mode in modes)
    return Images(paths, np.array(sizes, dtype=np.int64), deep)


def measure_normalization(paths: Sequence[Path]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, RGB, 0 to 255, as mmcv loads the images.

    At most 100 images, evenly spaced, are read: enough for two digits.

    Raises:
        ValueError: Images of one value alone.
    """
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, 100).astype(int))]

    def moments(path: Path) -> np.ndarray:
        pixels = mmcv.imread(path, channel_order='rgb').reshape(-1, 3).astype(np.float64)
        return np.stack([np.full(3, len(pixels)), pixels.sum(0), (pixels**2).sum(0)])

    number, total, squares = sum(in_threads(moments, chosen, 'pixels'), np.zeros((3, 3)))
    mean = total / number
    std = np.sqrt(np.maximum(squares / number - mean**2, 0))
    if std.max() < 1:
        raise ValueError('the upper 8 bits of the images hardly differ: stretch them to 8 bits')
    return mean.round(2).tolist(), np.maximum(std, 1).round(2).tolist()
