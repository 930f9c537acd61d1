"""Find out what kind of masks a folder holds, and count the classes in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ...datasets.files import sha256_of
from ...datasets.headers import image_size, require_size
from ...datasets.masks import LoadMask
from ...datasets.threads import in_threads
from ..index_masks import Masks, find_images, masks_sha256, require_images
from .reading import modes_of

IGNORE = 255
SHOWN = 20  # colors in a message
_ENTRY = re.compile(r'(?P<name>.+?)\s*[=:,\t ]\s*#(?P<hex>[0-9a-fA-F]{6})\s*(#.*)?')


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


def parse_colors(texts: Sequence[str], classes: Sequence[str]) -> dict[str, list[list[int]]]:
    """Arguments of ``LoadMask`` from ``name=#rrggbb`` entries, or from files with one a line.

    Args:
        texts: Entries and paths of files. ``ignore=#rrggbb`` may be given several times.
        classes: Names, in the order of the labels.

    Raises:
        ValueError: A bad line, a name or a color twice, a class without color.
    """
    entries = []
    for text in texts:
        lines = [text]
        if Path(text).is_file():
            lines = Path(text).read_text(encoding='utf-8-sig').splitlines()
        entries += [line.strip() for line in lines if line.strip() and line.strip()[0] != '#']
    found: dict[str, list[int]] = {}
    ignored: list[list[int]] = []
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if not match:
            raise ValueError(
                f'--colors: {entry!r} is neither name=#rrggbb nor a file of such lines'
            )
        name, color = match['name'], list(bytes.fromhex(match['hex']))
        if name not in (*classes, 'ignore'):
            raise ValueError(f'--colors: {name!r} is none of --classes {", ".join(classes)}')
        if name in found or color in [*found.values(), *ignored]:
            raise ValueError(f'--colors: {entry!r} gives a class or a color a second time')
        if name in classes:
            found[name] = color
        else:
            ignored.append(color)
    missing = [name for name in classes if name not in found]
    if missing:
        raise ValueError(f'--colors has no color for {", ".join(missing)}: add NAME=#rrggbb')
    loading = dict(colors=[found[name] for name in classes])
    return dict(loading, ignore_colors=ignored) if ignored else loading


def read_own_masks(
    images: Mapping[str, Path],
    folder: str | Path,
    classes: Sequence[str],
    values: Sequence[int] | None = None,
    colors: dict[str, Any] | None = None,
) -> OwnMasks:
    """Find out what kind of masks these are, and count the classes in them.

    Masks that hold 0 and 255 alone are taken as two classes, if there are two.

    Args:
        images: Image files by stem.
        folder: Masks, named as the images, of any suffix.
        classes: Names of the C classes.
        values: Grey value of each class; by default 0 ... C−1. 255 is ignored where it is none.
        colors: As :func:`parse_colors` returns them; RGB masks need them.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: Names the mask and what is wrong with it.
    """
    paths = find_images(folder)
    require_images(paths, images)
    modes = modes_of(paths)
    colored = [mode in ('RGB', 'RGBA') or (mode == 'P' and colors is not None) for mode in modes]
    if any(colored) and not all(colored):
        first, other = (str(list(paths.values())[colored.index(kind)]) for kind in (True, False))
        raise ValueError(f'{first!r} is an RGB mask, {other!r} is not: all must be of one kind')
    if all(colored):
        if values is not None:
            raise ValueError('--values is for grey masks, but these are RGB images: give --colors')
        if colors is None:
            raise ValueError(_question(list(paths.values())))
        masks = _count(images, paths, colors)
        masks = masks._replace(counts=masks.counts[:, : len(classes)])
        return OwnMasks(masks, 'RGB', colors, colors['colors'])
    if colors is not None:
        raise ValueError(f'--colors is for RGB and palette masks, these are {modes[0]!r} images')
    masks = _count(images, paths, {})
    labels = _labels(masks, paths, classes, values)
    loading: dict[str, Any] = {}
    palette = None
    if labels == list(range(len(classes))):
        palette = _file_palette(next(iter(paths.values())), len(classes))
    else:
        ignored = [] if IGNORE in labels else [[IGNORE, IGNORE]]
        loading = dict(values=[[value, label] for label, value in enumerate(labels)] + ignored)
    kind = 'grey values' if loading else 'palette' if palette else 'index'
    return OwnMasks(masks._replace(counts=masks.counts[:, labels]), kind, loading, palette)


def _count(
    images: Mapping[str, Path], paths: Mapping[str, Path], loading: Mapping[str, Any]
) -> Masks:
    """Pixels of each label 0 ... 255 in each mask, as ``LoadMask`` reads it."""
    load = LoadMask(**loading)

    def read(stem: str) -> tuple[np.ndarray, str]:
        content, path = paths[stem].read_bytes(), str(paths[stem])
        labels = load.decode(content, path)
        require_size(path, labels.shape[::-1], images[stem], image_size(images[stem]))
        return np.bincount(labels.ravel(), minlength=256), sha256_of(content)

    rows, hashes = zip(*in_threads(read, list(paths), 'masks'), strict=True)
    return Masks(list(paths), np.array(rows, dtype=np.int64), masks_sha256(paths, hashes))


def _labels(
    masks: Masks, paths: Mapping[str, Path], classes: Sequence[str], values: Sequence[int] | None
) -> list[int]:
    """The grey value of each class; no other value is in the masks, save 255."""
    present = np.flatnonzero(masks.counts.any(0)).tolist()
    labels = list(range(len(classes))) if values is None else list(values)
    if values is None and present == [0, IGNORE]:
        if len(classes) != 2:
            raise ValueError(
                f'the masks hold 0 and {IGNORE} alone: that is two classes, but --classes names '
                f'{len(classes)}. If {IGNORE} means ignore, nothing but class 0 is labeled'
            )
        labels = [0, IGNORE]
    if len(labels) != len(classes) or len(set(labels)) < len(labels):
        given = ' '.join(map(str, labels))
        raise ValueError(f'--values {given}: give {len(classes)} different values, one a class')
    for value in sorted(set(present) - {*labels, IGNORE}):
        path = paths[masks.stems[int(masks.counts[:, value].argmax())]]
        lossy = path.suffix.lower() in ('.jpg', '.jpeg')
        remedy = 'Correct --classes, or give the value of each class by --values'
        raise ValueError(
            f'mask {str(path)!r} holds the value {value} in {masks.counts[:, value].max()} pixels, '
            f'but the classes are {", ".join(map(str, labels))} and {IGNORE} means ignore. '
            + ('JPEG changes values near edges: export PNG' if lossy else remedy)
        )
    return labels


def _file_palette(path: Path, number: int) -> list[list[int]] | None:
    """The first colors of a palette image, if they tell the classes apart."""
    with Image.open(path) as file:
        flat = file.getpalette('RGB') if file.mode == 'P' else None
    colors = [(flat or [])[3 * i : 3 * i + 3] for i in range(number)]
    distinct = {tuple(color) for color in colors if len(color) == 3}
    return colors if len(distinct) == number else None


def _question(paths: Sequence[Path]) -> str:
    """The colors found, most frequent first, as lines of a file for ``--colors``."""
    pixels: Counter[int] = Counter()
    files: Counter[int] = Counter()

    def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
        with Image.open(path) as image:
            rgb = np.asarray(image.convert('RGB')).astype(np.int64)
        return np.unique(rgb @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)

    for codes, numbers in in_threads(read, paths, 'colors'):
        pixels.update(dict(zip(codes.tolist(), numbers.tolist(), strict=True)))
        files.update(codes.tolist())
    lines = [
        f'NAME=#{code:06x}  # {number / pixels.total():.2%} of the pixels, in {files[code]} masks'
        for code, number in pixels.most_common(SHOWN)
    ]
    head = (
        f'the masks are RGB images, {str(paths[0])!r} for one, so --colors must say which color is '
        f'which class. {len(pixels)} colors found, {len(lines)} shown: save these lines as '
        'colors.txt, write a class (or ignore) for NAME, and add --colors colors.txt'
    )
    return '\n'.join((head, *lines))
