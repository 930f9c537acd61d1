"""Read a folder: sizes, depth and normalization of images, kind of masks and classes in them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
from PIL import Image

from ...datasets.files import image_size, in_threads
from ...datasets.masks import LoadMask
from ...functional import IGNORE
from ..index_masks import Masks, count_labels, find_images

_ENTRY = re.compile(r'(?P<name>.+?)\s*[=:,\t ]\s*#(?P<hex>[0-9a-fA-F]{6})\s*(#.*)?')


MOST_COLORS = 1000
"""More are no colors of classes."""


class Images(NamedTuple):
    """Image files by stem, sorted; widths and heights int64 (N, 2); ``deep``: some have 16 bits."""

    paths: dict[str, Path]
    sizes: np.ndarray
    deep: bool


class OwnMasks(NamedTuple):
    """Masks as the config will load them.

    ``masks`` has the pixels of each class, int64 (M, C); ``kind`` is ``'index'``, ``'gray values'``
    or ``'colors'`` and ``why`` its reason; ``loading`` are arguments of ``LoadMask``, none for class
    numbers.
    """

    masks: Masks
    kind: str
    loading: dict[str, Any]
    why: str


def read_images(folder: str | Path) -> Images:
    """Sizes and depth of every image below a folder, from the files' headers.

    Raises:
        ValueError: An image that cannot be read or has floating-point values. Also, and
            FileNotFoundError, as :func:`find_images`.
    """

    def read(path: Path) -> tuple[tuple[int, int], str, bool]:
        size = image_size(path)
        with Image.open(path) as file:
            # 16-bit RGB is RGB to PIL; how it is stored tells
            return size, file.mode, file.mode.startswith('I') or ';16' in str(file.tile)

    paths = find_images(folder)
    sizes, modes, deep = zip(*in_threads(read, list(paths.values()), 'headers'), strict=True)
    if 'F' in modes:
        path = str(list(paths.values())[modes.index('F')])
        raise ValueError(f'image {path!r} has floating-point values: save it with 8 bits a channel')
    return Images(paths, np.array(sizes, dtype=np.int64), any(deep))


def measure_normalization(paths: Sequence[Path]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, RGB, 0 to 255, as mmcv loads the images.

    At most 100 images, evenly spaced, are read: enough for two digits.

    Raises:
        ValueError: Images of one value alone, or one that cannot be read.
    """
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, 100).astype(int))]

    def moments(path: Path) -> np.ndarray:
        image = mmcv.imread(path, channel_order='rgb')
        if image is None:
            raise ValueError(f'image {str(path)!r} cannot be read: save it with 8 bits a channel')
        mean, std = cv2.meanStdDev(image)
        return np.stack((mean[:, 0], (mean**2 + std**2)[:, 0]))

    mean, square = np.mean(list(in_threads(moments, chosen, 'pixels')), axis=0)
    std = np.sqrt(np.maximum(square - mean**2, 0))
    if std.max() < 1:
        raise ValueError('the upper 8 bits of the images hardly differ: stretch them to 8 bits')
    return mean.round(2).tolist(), np.maximum(std, 1).round(2).tolist()


def parse_colors(texts: Sequence[str], classes: Sequence[str]) -> dict[str, list[list[int]]]:
    """Arguments of ``LoadMask`` from ``name=#rrggbb`` entries, or from files with one a line.

    ``classes`` are in the order of the labels. ``ignore=#rrggbb`` may be given several times.

    Raises:
        ValueError: A bad line, or not one color for each class.
    """
    lines: list[str] = []
    for text in texts:
        path = Path(text)
        lines += path.read_text('utf-8-sig').splitlines() if path.is_file() else [text]
    colors: dict[str, list[list[int]]] = {name: [] for name in (*classes, 'ignore')}
    for line in map(str.strip, lines):
        if line and not line.startswith('#'):
            match = _ENTRY.fullmatch(line)
            if not match or match['name'] not in colors:
                raise ValueError(
                    f'--colors: {line!r} is neither NAME=#rrggbb, where NAME is ignore or one of '
                    f'--classes {", ".join(classes)}, nor a file of such lines'
                )
            colors[match['name']].append(list(bytes.fromhex(match['hex'])))
    ignored = [] if 'ignore' in classes else colors.pop('ignore')
    for name, given in colors.items():
        if len(given) != 1:
            raise ValueError(
                f'--colors has {len(given)} colors for {name}: give one {name}=#rrggbb'
            )
    loading = dict(colors=[color for [color] in colors.values()])
    return dict(loading, ignore_colors=ignored) if ignored else loading


def read_own_masks(
    images: Mapping[str, Path],
    folder: str | Path,
    classes: Sequence[str],
    values: Sequence[int] | None = None,
    colors: dict[str, Any] | None = None,
) -> OwnMasks:
    """Count the classes in masks of class numbers, of other gray values or of colors.

    Masks that hold 0 and 255 alone are taken as two classes, if there are two.

    ``images`` are files by stem; masks have their stems and any suffix. ``values`` has the gray value
    of each class, by default 0 ... C−1; 255 is ignored where it is none. RGB masks need ``colors``,
    as :func:`parse_colors` returns them.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: Names the mask and what is wrong with it.
    """
    paths = find_images(folder)
    with Image.open(next(iter(paths.values()))) as first:
        if first.mode in ('RGB', 'RGBA') and not colors:
            raise ValueError(_question(list(paths.values())))
    masks = count_labels(paths, images, LoadMask(**colors or {}))
    labels = list(range(len(classes)))
    kind, loading, why = 'index', {}, 'every value is a class number, or 255 = ignore'
    if colors:
        kind, loading, why = 'colors', colors, 'each color is a class, as --colors says'
    elif (found := _labels(masks.counts, list(paths.values()), classes, values)) != labels:
        labels = found
        ignored = [] if IGNORE in labels else [[IGNORE, IGNORE]]
        loading = dict(values=[[value, label] for label, value in enumerate(labels)] + ignored)
        names = ', '.join(f'{value} → {name}' for value, name in zip(labels, classes, strict=True))
        kind, why = 'gray values', f'{names}: --values says so, or they hold 0 and 255 alone'
    masks = masks._replace(counts=masks.counts[:, labels])
    return OwnMasks(masks, kind, loading, why)


def _labels(
    counts: np.ndarray, paths: Sequence[Path], classes: Sequence[str], values: Sequence[int] | None
) -> list[int]:
    """The gray value of each class; no other value is in the masks (M, 256), save 255."""
    present = np.flatnonzero(counts.any(0)).tolist()
    labels = list(range(len(classes))) if values is None else list(values)
    if values is None and present == [0, IGNORE]:
        labels = [0, IGNORE]
        if len(classes) != 2:
            raise ValueError(f'masks of 0 and {IGNORE} alone, but --classes names {len(classes)}')
    if len(labels) != len(classes) or len(set(labels) & set(range(256))) < len(labels):
        given = ' '.join(map(str, labels))
        raise ValueError(f'--values {given}: give {len(classes)} different values of 0 ... 255')
    for value in sorted(set(present) - {*labels, IGNORE}):
        path = paths[int(counts[:, value].argmax())]
        raise ValueError(
            f'mask {str(path)!r} holds the value {value} in {counts[:, value].max()} pixels, but '
            f'the classes are {", ".join(map(str, labels))} and {IGNORE} means ignore. Correct '
            '--classes, or give the value of each class by --values; of a JPEG, which holds other '
            'values near edges, export PNG; pixels of no class are 255'
        )
    return labels


def _question(paths: Sequence[Path]) -> str:
    """What to do: the colors found, most frequent first, are lines of a file for ``--colors``."""

    def read(path: Path) -> Counter[tuple[int, int, int]]:
        with Image.open(path) as image:
            found: Any = image.convert('RGB').getcolors(1 << 24)
        return Counter({color: number for number, color in found})

    pixels = sum(in_threads(read, paths, 'colors'), Counter())
    if len(pixels) > MOST_COLORS:
        return (
            f'the masks have {len(pixels)} colors, as photographs have, such as {str(paths[0])!r}: give '
            'IMAGES MASKS in this order. JPEG, and resizing, blend colors: export masks as PNG, one color a '
            'class'
        )
    lines = [
        f'NAME=#{bytes(color).hex()}  # {number / pixels.total():.2%} of the pixels'
        for color, number in pixels.most_common(20)
    ]
    first = (
        f'the masks are RGB images ({str(paths[0])!r}); {len(pixels)} colors found, {len(lines)} '
        'shown. In a file of these lines, write a class or ignore for NAME, and add --colors FILE'
    )
    return '\n'.join([first, *lines])
