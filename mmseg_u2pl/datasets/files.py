"""Names of images: walk a folder, read a list, match names, and say what is wrong with them.

A *stem* is a file's path in its folder, with ``/`` and without suffix: ``city/0001``. Accented
letters have two spellings in Unicode, and systems differ in which they write: stems are
NFC-normalized, and names match if their normalized forms do.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from unicodedata import normalize

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def image_names(folder: str | Path) -> list[str]:
    """Names in the folder, with ``/``, of every image below it, sorted folder by folder.

    Files and folders that begin with a dot are left out: systems and notebooks leave such copies
    behind, which often are not images.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: It has no image.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f'no folder {str(folder)!r} (from {Path.cwd()})')
    names: list[str] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith('.')]
        inside = os.path.relpath(place, folder).replace(os.sep, '/')
        prefix = '' if inside == '.' else f'{inside}/'
        names += [
            prefix + name
            for name in files
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith('.')
        ]
    if not names:
        endings = ', '.join(IMAGE_SUFFIXES)
        raise ValueError(f'no image found in {str(folder)!r}: none of its files ends in {endings}')
    return sorted(names, key=lambda name: name.split('/'))


def stem_of(name: str) -> str:
    """A name in a folder, NFC-normalized, without the suffix of an image; other dots stay."""
    stem = name.rpartition('.')[0] if name.lower().endswith(IMAGE_SUFFIXES) else name
    return normalize('NFC', stem)


def images_by_stem(folder: str | Path) -> dict[str, list[str]]:
    """Names of the images below a folder by stem; order and errors as :func:`image_names`."""
    found: dict[str, list[str]] = {}
    for name in image_names(folder):
        found.setdefault(stem_of(name), []).append(name)
    return found


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and text of a list's lines, without blank ones; read as they are asked for.

    Raises:
        FileNotFoundError: No such list.
        ValueError: It is not UTF-8 text.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no list {str(path)!r} (from {Path.cwd()})')
    try:
        with open(path, encoding='utf-8-sig') as lines:  # editors may write a mark first
            for number, line in enumerate(lines, 1):  # a name may hold what splitlines() splits at
                if name := line.strip():
                    yield number, name
    except UnicodeDecodeError as error:
        raise ValueError(f'the list {str(path)!r} is not UTF-8 text: save it as UTF-8') from error


def line_of(path: str | Path, number: int) -> str:
    """How a message about a line of a list begins."""
    return f'the list {str(path)!r}, line {number}: '


def listed_images(
    path: str | Path,
    folder: str | Path,
    img_suffix: str | None = None,
    images: Mapping[str, list[str]] | None = None,
) -> dict[str, int]:
    """Images that a list names, in its order: names in the image folder and their lines, from 1.

    Args:
        path: The list: UTF-8, one image a line, path in the folder with or without suffix.
        folder: Where the images are.
        img_suffix: What a line without suffix lacks; the folder is not looked at then. None:
            found in the folder.
        images: :func:`images_by_stem` of the folder, from a caller that has it.

    Raises:
        FileNotFoundError: No such list or folder; a line names no image in the folder.
        ValueError: An empty list; a line that leaves the folder, names an image a second time
            or a stem of two images.
    """
    if img_suffix is None and images is None:
        images = images_by_stem(folder)
    found: dict[str, int] = {}
    for number, text in numbered_lines(path):
        name = posixpath.normpath(text)
        if os.path.isabs(text) or name.split('/', 1)[0] == '..':
            raise ValueError(
                f'{line_of(path, number)}{text!r} leaves the image folder {str(folder)!r}: write a '
                'path inside it'
            )
        if images is not None:
            names = _named(name, images)
            if len(names) > 1:
                raise ValueError(
                    f'{line_of(path, number)}{text!r} is the stem of {names[0]!r} and '
                    f'{names[1]!r}: write the suffix too'
                )
            if not names:
                example = images.get(stem_of(name)) or next(iter(images.values()))
                raise FileNotFoundError(
                    f'{line_of(path, number)}no image {text!r} in {str(folder)!r}, where images '
                    f'are named like {example[0]!r}'
                )
            name = names[0]
        elif not name.lower().endswith(IMAGE_SUFFIXES):
            name += img_suffix or ''
        first = found.setdefault(name, number)
        if first != number:
            raise ValueError(
                f'{line_of(path, number)}{text!r} is the image of line {first} again: remove one'
            )
    if not found:
        raise ValueError(f'the list {str(path)!r} is empty: write one image a line')
    return found


def _named(name: str, images: Mapping[str, list[str]]) -> list[str]:
    """Files that a line may mean: that name's, or all of that stem."""
    exact = normalize('NFC', name)
    same_stem = images.get(stem_of(name), [])
    return [n for n in same_stem if normalize('NFC', n) == exact] or images.get(exact, [])


def list_text(names: Iterable[str]) -> bytes:
    """A list as it is written: one name a line, UTF-8."""
    return ''.join(f'{name}\n' for name in names).encode()


def sha256_of(content: bytes) -> str:
    """The hash in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
