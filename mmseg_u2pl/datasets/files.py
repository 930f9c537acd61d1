"""Image files: walk a folder, read a list, match names, read headers, work in threads.

A *stem* is a file's path in its folder, with ``/`` and without suffix: ``city/0001``. Accented
letters have two spellings in Unicode, and systems differ in which they write: stems are
NFC-normalized, and names match if their normalized forms do.
"""

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from mmengine.dist import is_main_process
from PIL import Image
from rich import get_console
from rich.progress import track

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_EXIF_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What PIL raises on files that are not whole images."""
_LARGEST_CHUNK = 256  # files that a thread takes at a time

Item = TypeVar('Item')
Result = TypeVar('Result')


def image_names(folder: str | Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[str]:
    """Names in the folder, with ``/``, of every image below it, sorted folder by folder.

    Files and folders that begin with a dot are left out: systems and notebooks leave such copies
    behind, which often are not images.

    Raises:
        FileNotFoundError: No such folder.
        PermissionError: It, or a folder in it, cannot be read.
        ValueError: It has no image; a link in it leads to a folder that is in it already.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f'no folder {str(folder)!r} (from {Path.cwd()})')
    names: list[str] = []
    seen: dict[str, str] = {}
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith('.')]
        first = seen.setdefault(os.path.realpath(place), place)
        if first != place:
            raise ValueError(
                f'{place!r} and {first!r} are one folder, by a link, so that its images would count '
                'several times: remove the link'
            )
        inside = os.path.relpath(place, folder).replace(os.sep, '/')
        prefix = '' if inside == '.' else f'{inside}/'
        names += [
            prefix + name
            for name in files
            if name.lower().endswith(suffixes) and not name.startswith('.')
        ]
    if not names:
        endings = ', '.join(suffixes)
        raise ValueError(f'no image found in {str(folder)!r}: none of its files ends in {endings}')
    return sorted(names, key=lambda name: name.split('/'))


def _refuse(error: OSError) -> None:
    raise error


def require_outside(folder: str | Path, others: str | Path) -> None:
    """Raise ValueError if the folder of others, masks say, is in a folder that is searched for images."""
    outer, inner = Path(folder).resolve(), Path(others).resolve()
    if outer.is_dir() and (outer == inner or outer in inner.parents):
        raise ValueError(
            f'{str(others)!r} is in {str(folder)!r}: masks would be taken for images; put the two '
            'folders side by side, and give that of the images'
        )


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


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image file as mmcv loads it: turned as its EXIF orientation says.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is not an image.
    """
    try:
        with Image.open(path) as image:
            # asking a PNG without EXIF would decode it; a TIFF's size is turned already
            exif = Image.Exif()  # getexif() would ask XMP, too, which OpenCV does not
            exif.load(image.info.get('exif', b''))
            turned = exif.get(_EXIF_ORIENTATION) in _ON_ITS_SIDE
            return image.size[::-1] if turned else image.size
    except FileNotFoundError:
        raise
    except READ_ERRORS as error:
        raise ValueError(f'cannot read the image {str(path)!r}: {error}') from error


def require_size(
    mask: str | Path, size: tuple[int, int], image: str | Path, expected: tuple[int, int]
) -> None:
    """A mask has the width and height of its image.

    Raises:
        ValueError: It has not; names both files and sizes.
    """
    if tuple(size) != tuple(expected):
        raise ValueError(
            f'mask {str(mask)!r} is {size[0]}x{size[1]} pixels, but its image {str(image)!r} '
            f'{expected[0]}x{expected[1]}, turned as EXIF says: they must be the same size'
        )


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> Iterator[Result]:
    """``map`` in threads: decoders and network disks release the interpreter lock.

    Args:
        function: Called once for each item. Its first exception ends the work.
        items: Any sequence; a ``range`` needs no memory.
        title: Of the progress bar, which the main process shows in a terminal.
    """
    size = min(_LARGEST_CHUNK, 1 + len(items) // 64)
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    pool = ThreadPoolExecutor()
    try:
        found = pool.map(lambda chunk: [function(item) for item in chunk], chunks)
        hidden = not (is_main_process() and get_console().is_terminal)
        for results in track(found, title, len(chunks), transient=True, disable=hidden):
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the other files
