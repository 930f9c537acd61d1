"""Names of images: walk a folder, read a list, match names, and say what is wrong with them.

A *stem* is a file's path in its folder, with ``/`` and without suffix: ``city/0001``. Accented
letters have two spellings in Unicode, and systems differ in which they write: stems are
NFC-normalized, and names match if their normalized forms do.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def image_names(folder: str | Path) -> list[str]:
    """Names in the folder, with ``/``, of every image below it; hidden files are left out.

    Sorted folder by folder. Hidden are names that begin with a dot: copies that systems and
    notebooks leave behind, which often are not images.
    """
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
    return sorted(names, key=lambda name: name.split('/'))


def stem_of(name: str) -> str:
    """A name in a folder, NFC-normalized, without the suffix of an image; other dots stay."""
    stem = name.rpartition('.')[0] if name.lower().endswith(IMAGE_SUFFIXES) else name
    return normalize('NFC', stem)


def images_by_stem(folder: str | Path) -> dict[str, list[str]]:
    """Names of the images below a folder by stem, in the order of :func:`image_names`.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: It has no image.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f'no folder {str(folder)!r} (from {Path.cwd()})')
    found: dict[str, list[str]] = {}
    for name in image_names(folder):
        found.setdefault(stem_of(name), []).append(name)
    if not found:
        raise ValueError(no_image_in(folder))
    return found


def no_image_in(folder: str | Path) -> str:
    """The message for a folder without images."""
    endings = ', '.join(IMAGE_SUFFIXES)
    return f'no image found in {str(folder)!r}: none of its files ends in {endings}'


class LineError(NamedTuple):
    """What is wrong with a line of a list; ``missing``: a file does not exist."""

    line: int
    problem: str
    missing: bool = False


def raise_first(path: str | Path, errors: Sequence[LineError]) -> None:
    """Name the first wrong line of a list, and how many there are; no errors, no exception.

    Args:
        path: The list; empty: the errors are those of a folder without list.
        errors: In any order.

    Raises:
        FileNotFoundError: The first names a file that does not exist.
        ValueError: Anything else.
    """
    if not errors:
        return
    first = min(errors)
    place = f'the list {str(path)!r}, line {first.line}: ' if path else ''
    which = 'lines are wrong' if path else 'are like this'
    count = f' ({len(errors)} {which})' if len(errors) > 1 else ''
    kind = FileNotFoundError if first.missing else ValueError
    raise kind(place + first.problem + count)


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


def line_error(number: int, text: str, folder: str | Path) -> LineError | None:
    """What is wrong with a line whose path is not inside the image folder."""
    if os.path.isabs(text) or posixpath.normpath(text).split('/', 1)[0] == '..':
        return LineError(
            number, f'{text!r} leaves the image folder {str(folder)!r}: write a path inside it'
        )
    return None


def repeated(number: int, text: str, first: int) -> LineError:
    """A line names an image for the second time."""
    return LineError(number, f'{text!r} is the image of line {first} again: remove one')


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
    errors: list[LineError] = []
    for number, text in numbered_lines(path):
        if error := line_error(number, text, folder):
            errors.append(error)
            continue
        name = posixpath.normpath(text)
        if images is None:
            name += '' if name.lower().endswith(IMAGE_SUFFIXES) else img_suffix or ''
        else:
            names = _names_of(name, images)
            if len(names) != 1:
                errors.append(_no_single_image(number, text, folder, names, images))
                continue
            name = names[0]
        first = found.setdefault(name, number)
        if first != number:
            errors.append(repeated(number, text, first))
    raise_first(path, errors)
    if not found:
        raise ValueError(f'the list {str(path)!r} is empty: write one image a line')
    return found


def _names_of(name: str, images: Mapping[str, list[str]]) -> list[str]:
    """Files that a line may mean: that name's, or all of that stem."""
    exact = normalize('NFC', name)
    same_stem = images.get(stem_of(name), [])
    return [n for n in same_stem if normalize('NFC', n) == exact] or images.get(exact, [])


def _no_single_image(
    number: int, text: str, folder: str | Path, names: list[str], images: Mapping[str, list[str]]
) -> LineError:
    if names:
        return LineError(
            number, f'{text!r} is the stem of {names[0]!r} and {names[1]!r}: write the suffix too'
        )
    alike = images.get(stem_of(posixpath.normpath(text)))
    hint = (
        f'there is {alike[0]!r}' if alike else f'its images are named like {next(iter(images))!r}'
    )
    return LineError(number, f'no image {text!r} in {str(folder)!r}; {hint}', missing=True)


def list_text(names: Iterable[str]) -> bytes:
    """A list as it is written: one name a line, UTF-8."""
    return ''.join(f'{name}\n' for name in names).encode()


def sha256_of(content: bytes) -> str:
    """The hash in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def other_spelling(path: str) -> str | None:
    """The name in its folder that differs from a missing file's in Unicode form only."""
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    return next((n for n in names if normalize('NFC', n) == normalize('NFC', name)), None)
