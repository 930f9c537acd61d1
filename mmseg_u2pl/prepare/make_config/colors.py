"""RGB masks: which colors they hold, and which color is which class."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..datasets.files import sha256_of
from ..datasets.headers import image_size, require_size
from ..prepare.index_masks import Masks, masks_sha256

SHOWN = 20  # colors in a message
_ENTRY = re.compile(r'(?P<name>.+?)\s*[=:,\t ]\s*#(?P<hex>[0-9a-fA-F]{6})\s*(#.*)?')


class Colors(NamedTuple):
    """Color (R, G, B) of each class, in the order of the classes, and those to ignore."""

    classes: list[list[int]]
    ignored: list[list[int]]


def parse_colors(texts: Sequence[str], classes: Sequence[str]) -> Colors:
    """Colors from ``name=#rrggbb`` entries, or from files with one entry a line.

    Args:
        texts: Entries and paths of files. ``ignore=#rrggbb`` may be given several times.
        classes: Names, in the order of the labels.

    Raises:
        ValueError: No such file, a bad line, a name or a color twice, a class without color.
    """
    found: dict[str, list[int]] = {}
    ignored: list[list[int]] = []
    seen: dict[tuple[int, ...], str] = {}
    for where, text in _entries(texts):
        match = _ENTRY.fullmatch(text)
        if not match:
            raise ValueError(f'{where}: {text!r} is neither name=#rrggbb nor a file of such lines')
        name, color = match['name'], list(bytes.fromhex(match['hex']))
        if name not in classes and name != 'ignore':
            raise ValueError(f'{where}: {name!r} is none of --classes {", ".join(classes)}')
        if tuple(color) in seen or name in found:
            raise ValueError(f'{where}: {text!r} gives a class or a color a second time')
        seen[tuple(color)] = name
        if name in classes:
            found[name] = color
        else:
            ignored.append(color)
    missing = [name for name in classes if name not in found]
    if missing:
        raise ValueError(f'--colors has no color for {", ".join(missing)}: add NAME=#rrggbb')
    return Colors([found[name] for name in classes], ignored)


def _entries(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Entries, each with its place for a message."""
    entries = []
    for text in texts:
        if Path(text).is_file():
            lines = Path(text).read_text(encoding='utf-8-sig').splitlines()
            numbered = [(f'{text!r} line {n}', line.strip()) for n, line in enumerate(lines, 1)]
            entries += [(where, line) for where, line in numbered if line and line[0] != '#']
        else:
            entries.append(('--colors', text))
    return entries


def read_color_masks(
    images: Mapping[str, Path], masks: Mapping[str, Path], colors: Colors | None
) -> Masks:
    """Count the classes in RGB masks.

    Args:
        images: Image files by stem.
        masks: Mask files by stem, each of an image.
        colors: What the colors mean.

    Raises:
        ValueError: Without ``colors``: lists what is there. A color without meaning, or a mask
            that is not of its image's size.
    """
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        reads = list(pool.map(lambda stem: _read(masks[stem], images[stem]), masks))
    if colors is None:
        raise ValueError(_question(list(masks.values()), reads))
    known = [*colors.classes, *colors.ignored]
    codes = np.array([_code(np.array(color)) for color in known])
    counts = np.zeros((len(masks), len(known)), dtype=np.int64)
    for row, (path, (found, pixels, _)) in enumerate(zip(masks.values(), reads, strict=True)):
        strange = ~np.isin(found, codes)
        if strange.any():
            first = np.flatnonzero(strange)[pixels[strange].argmax()]
            lossy = path.suffix.lower() in ('.jpg', '.jpeg')
            raise ValueError(
                f'mask {str(path)!r} holds the color {_hex(found[first])} in {pixels[first]} '
                'pixels, which --colors does not name: add NAME=#rrggbb, or ignore=#rrggbb'
                + (' (JPEG changes colors near edges: export PNG)' if lossy else '')
            )
        for code, number in zip(found, pixels, strict=True):
            counts[row, np.flatnonzero(codes == code)[0]] = number
    sha256 = masks_sha256(masks, (sha for _, _, sha in reads))
    return Masks(list(masks), counts[:, : len(colors.classes)], sha256)


def _read(path: Path, image: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Colors of a mask as 0xRRGGBB (K,), their pixels (K,), and the file's hash."""
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as file:
            rgb = np.asarray(file.convert('RGB'))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'cannot read the mask {str(path)!r}: {error}') from error
    require_size(path, (rgb.shape[1], rgb.shape[0]), image, image_size(image))
    codes, pixels = np.unique(_code(rgb), return_counts=True)
    return codes, pixels, sha256_of(content)


def _code(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) → 0xRRGGBB."""
    return rgb.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])


def _hex(code: int) -> str:
    return f'#{int(code):06x}'


def _question(paths: list[Path], reads: list[tuple[np.ndarray, np.ndarray, str]]) -> str:
    """The colors found, most frequent first, as lines of a file for ``--colors``."""
    codes, place = np.unique(np.concatenate([r[0] for r in reads]), return_inverse=True)
    pixels = np.bincount(place, np.concatenate([r[1] for r in reads]))
    files = np.bincount(place)
    first = np.argsort(-pixels, kind='stable')[:SHOWN]
    lines = [
        f'NAME={_hex(codes[i])}  # {pixels[i] / pixels.sum():.2%} of the pixels, in {files[i]} masks'
        for i in first
    ]
    return '\n'.join(
        (
            f'the masks are RGB images, {str(paths[0])!r} for one, so --colors must say which color '
            f'is which class. {len(codes)} colors found, {len(first)} shown: save these lines as '
            'colors.txt, write a class (or ignore) for NAME, and add --colors colors.txt',
            *lines,
        )
    )
