"""Read the images of a folder: sizes, modes, and a normalization where they need one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np
from PIL import Image

from ...datasets.headers import READ_ERRORS, image_size
from ...datasets.threads import in_threads
from ..index_masks import find_images

BYTES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'CMYK', 'YCbCr')  # 8 bits or fewer a channel
DEEP = ('I', 'I;16', 'I;16B', 'I;16L')


class Images(NamedTuple):
    """Image files by stem, sorted; widths and heights int64 (N, 2); number of images by PIL mode."""

    paths: dict[str, Path]
    sizes: np.ndarray
    modes: Counter[str]

    @property
    def deep(self) -> bool:
        """Whether any has more than 8 bits a channel."""
        return any(mode in DEEP for mode in self.modes)


def modes_of(paths: Mapping[str, Path]) -> list[str]:
    """PIL mode of each file, from its header. Raises ValueError for a file without one."""

    def read(path: Path) -> str:
        try:
            with Image.open(path) as file:
                return file.mode
        except READ_ERRORS as error:
            raise ValueError(f'cannot read {str(path)!r}: {error}') from error

    return list(in_threads(read, list(paths.values()), 'headers'))


def read_images(folder: str | Path) -> Images:
    """Sizes and modes of every image below a folder, from the files' headers.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No image, one that cannot be read or has floating-point values, two of one
            stem.
    """
    paths = find_images(folder)
    modes = modes_of(paths)
    for path, mode in zip(paths.values(), modes, strict=True):
        if mode not in (*BYTES, *DEEP):
            raise ValueError(
                f'image {str(path)!r} has the mode {mode!r}, which is not loaded faithfully: save '
                'it with 8 bits a channel'
            )
    sizes = list(in_threads(image_size, list(paths.values()), 'sizes'))
    return Images(paths, np.array(sizes, dtype=np.int64), Counter(modes))


def measure_normalization(paths: Sequence[Path], most: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel (3,), RGB, 0 to 255, as mmcv loads the images.

    Args:
        paths: Image files, of which at most ``most``, evenly spaced, are read.
        most: Enough for two digits.

    Raises:
        ValueError: An image that mmcv cannot load, or images of one value alone.
    """
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, most).astype(int))]

    def moments(path: Path) -> np.ndarray:
        image = mmcv.imread(path, channel_order='rgb')
        if image is None:
            raise ValueError(f'mmcv cannot load the image {str(path)!r}: save it as 8-bit PNG')
        pixels = image.reshape(-1, 3).astype(np.float64)
        return np.stack([np.full(3, float(len(pixels))), pixels.sum(0), (pixels**2).sum(0)])

    number, total, squares = sum(in_threads(moments, chosen, 'pixels'), np.zeros((3, 3)))
    mean = total / number
    std = np.sqrt(np.maximum(squares / number - mean**2, 0))
    if std.max() < 1:
        raise ValueError(
            f'the images are loaded by their upper 8 bits, which hardly differ (mean {mean[0]:.1f}, '
            f'standard deviation {std[0]:.2f} of 255): stretch them to 8 bits first'
        )
    return mean.round(2), np.maximum(std, 1).round(2)
