"""Read what a folder of images and masks holds: sizes, kinds of images, kind of masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import mmcv
import numpy as np
from PIL import Image

from ..datasets.headers import image_size
from ..prepare.index_masks import Masks, find_images, read_masks, require_images
from .colors import Colors, read_color_masks

BYTES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'CMYK', 'YCbCr')  # 8 bits or fewer a channel
DEEP = ('I', 'I;16', 'I;16B', 'I;16L')
COLOR = ('RGB', 'RGBA')
IGNORE = 255


class Images(NamedTuple):
    """Image files by stem, sorted; widths and heights int64 (N, 2); number of images by PIL mode."""

    paths: dict[str, Path]
    sizes: np.ndarray
    modes: Counter[str]

    @property
    def deep(self) -> bool:
        """Whether any has more than 8 bits a channel."""
        return any(mode in DEEP for mode in self.modes)


class OwnMasks(NamedTuple):
    """Masks as the config will load them.

    Args:
        masks: Stems, pixels of each class int64 (M, C), hash.
        kind: ``'index'``, ``'palette'``, ``'grey values'`` or ``'RGB'``.
        loading: Arguments of ``LoadMask``; none for index and palette masks.
        palette: Colors of the classes if the masks say so.
    """

    masks: Masks
    kind: str
    loading: dict[str, Any]
    palette: list[list[int]] | None


def _modes(paths: Mapping[str, Path]) -> list[str]:
    """PIL mode of each file; no pixel is read."""

    def read(path: Path) -> str:
        try:
            with Image.open(path) as file:
                return file.mode
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f'cannot read {str(path)!r}: {error}') from error

    with ThreadPoolExecutor() as pool:
        return list(pool.map(read, paths.values()))


def read_images(folder: str | Path) -> Images:
    """Sizes and modes of every image below a folder, from the files' heads.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No image, one that cannot be read or has floating-point values, two of one
            stem.
    """
    paths = find_images(folder)
    modes = _modes(paths)
    for path, mode in zip(paths.values(), modes, strict=True):
        if mode not in (*BYTES, *DEEP):
            raise ValueError(
                f'image {str(path)!r} has the mode {mode!r}, which is not loaded faithfully: save '
                'it with 8 bits a channel'
            )
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(image_size, paths.values()))
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

    with ThreadPoolExecutor() as pool:
        number, total, squares = sum(pool.map(moments, chosen), np.zeros((3, 3)))
    mean = total / number
    std = np.sqrt(np.maximum(squares / number - mean**2, 0))
    if std.max() < 1:
        raise ValueError(
            f'the images are loaded by their upper 8 bits, which hardly differ (mean {mean[0]:.1f}, '
            f'standard deviation {std[0]:.2f} of 255): stretch them to 8 bits first'
        )
    return mean.round(2), np.maximum(std, 1).round(2)


def read_own_masks(
    images: Mapping[str, Path],
    folder: str | Path,
    classes: Sequence[str],
    values: Sequence[int] | None = None,
    colors: Colors | None = None,
) -> OwnMasks:
    """Find out what kind of masks these are, and count the classes in them.

    Masks that hold 0 and 255 alone are taken as two classes, if there are two.

    Args:
        images: Image files by stem.
        folder: Masks, named as the images, of any suffix.
        classes: Names of the C classes.
        values: Grey value of each class; by default 0 ... C−1. 255 is ignored where it is none.
        colors: Color of each class; RGB masks need it.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: Names the mask and what is wrong with it.
    """
    paths = find_images(folder)
    modes = _modes(paths)
    colored = [mode in COLOR or (mode == 'P' and colors is not None) for mode in modes]
    if any(colored) and not all(colored):
        one, other = (str(list(paths.values())[colored.index(kind)]) for kind in (True, False))
        raise ValueError(f'{one!r} is an RGB mask, {other!r} is not: all must be of one kind')
    if not all(colored):
        if colors is not None:
            raise ValueError(
                f'--colors is for RGB and palette masks, these are {modes[0]!r} images'
            )
        return _grey(images, folder, paths, classes, values)
    if values is not None:
        raise ValueError('--values is for grey masks, but these are RGB images: give --colors')
    require_images(paths, images)
    masks = read_color_masks(images, paths, colors)
    assert colors is not None
    loading: dict[str, Any] = dict(colors=colors.classes)
    if colors.ignored:
        loading['ignore_colors'] = colors.ignored
    return OwnMasks(masks, 'RGB', loading, colors.classes)


def _grey(
    images: Mapping[str, Path],
    folder: str | Path,
    paths: Mapping[str, Path],
    classes: Sequence[str],
    values: Sequence[int] | None,
) -> OwnMasks:
    raw = read_masks(images, folder, 256, ignore_index=-1)  # every value counts
    present = np.flatnonzero(raw.counts.any(0)).tolist()
    if values is None and present == [0, IGNORE]:
        if len(classes) != 2:
            raise ValueError(
                f'the masks hold 0 and {IGNORE} alone: that is two classes, but --classes names '
                f'{len(classes)}. If {IGNORE} means ignore, nothing but class 0 is labeled'
            )
        values = [0, IGNORE]
    plain = values is None or list(values) == list(range(len(classes)))
    labels = list(range(len(classes))) if values is None else list(values)
    if len(labels) != len(classes) or len(set(labels)) < len(labels):
        given = ' '.join(map(str, labels))
        raise ValueError(f'--values {given}: give {len(classes)} different values, one a class')
    for value in present:
        if value not in labels and value != IGNORE:
            raise ValueError(_stranger(raw, paths, value, labels))
    palette = None if not plain else _file_palette(next(iter(paths.values())), len(classes))
    loading: dict[str, Any] = {}
    if not plain:
        loading['values'] = [[value, label] for label, value in enumerate(labels)]
        if IGNORE not in labels:
            loading['values'].append([IGNORE, IGNORE])
    kind = 'grey values' if loading else 'palette' if palette else 'index'
    return OwnMasks(raw._replace(counts=raw.counts[:, labels]), kind, loading, palette)


def _stranger(raw: Masks, paths: Mapping[str, Path], value: int, labels: list[int]) -> str:
    path = paths[raw.stems[int(raw.counts[:, value].argmax())]]
    lossy = path.suffix.lower() in ('.jpg', '.jpeg')
    return (
        f'mask {str(path)!r} holds the value {value} in {raw.counts[:, value].max()} pixels, but '
        f'the classes are {", ".join(map(str, labels))} and {IGNORE} means ignore. '
        + (
            'JPEG changes values near edges: export PNG'
            if lossy
            else 'Correct --classes, or give the value of each class by --values'
        )
    )


def _file_palette(path: Path, number: int) -> list[list[int]] | None:
    """The first colors of a palette image, if they tell the classes apart."""
    with Image.open(path) as file:
        flat = file.getpalette('RGB') if file.mode == 'P' else None
    colors = [(flat or [])[3 * i : 3 * i + 3] for i in range(number)]
    distinct = {tuple(color) for color in colors if len(color) == 3}
    return colors if len(distinct) == number else None
