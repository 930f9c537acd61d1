"""What the converters share: whole files or none, archives, threads, checks of masks."""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.progress import open as open_with_progress
from rich.progress import track

from ...prepare.index_masks import read_mask
from ..files import numbered_lines as whole_lines

Item = TypeVar('Item')
Result = TypeVar('Result')


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file and its folders: after an interruption it is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    part.write_bytes(content)
    os.replace(part, path)


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Number and first column of every line of a list that is not blank.

    Raises:
        ValueError: No such line.
    """
    found = [(number, line.split()[0]) for number, line in whole_lines(path)]
    if not found:
        raise ValueError(f'the list {str(path)!r} is empty')
    return found


def read_lines(path: Path) -> list[str]:
    """First columns of a list; errors as :func:`numbered_lines`."""
    return [column for _, column in numbered_lines(path)]


def unpack(archive: Path, folder: Path, pattern: str) -> None:
    """Unpack the files of a tar archive, compressed or not, that are not there yet.

    Args:
        archive: Read once from start to end, with a progress bar.
        folder: Where to.
        pattern: Searched in each file's path; group 1 is its path in the folder.

    Raises:
        FileNotFoundError: No such archive.
        ValueError: It ends early, or is no tar archive.
    """
    if not archive.is_file():
        raise FileNotFoundError(f'no archive {str(archive)!r} (from {Path.cwd()})')
    try:
        with (
            open_with_progress(archive, 'rb', description=archive.name, transient=True) as stream,
            tarfile.open(fileobj=stream, mode='r|*') as members,
        ):
            for member in members:
                found = re.search(pattern, member.name)
                if not found or not member.isfile():
                    continue
                path = folder / found[1]
                if not path.is_file() or path.stat().st_size != member.size:
                    content = members.extractfile(member)
                    assert content is not None  # only of what is no file
                    write_atomic(path, content.read())
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f'cannot read the archive {str(archive)!r} to its end: {error}. Download it again; '
            'what was unpacked before is kept'
        ) from error


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> list[Result]:
    """Results in the order of the items, with a progress bar; an error or Ctrl-C ends it at once."""
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        try:
            results = pool.map(function, items)
            return list(track(results, title, total=len(items), transient=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def require_files(paths: Iterable[Path], remedy: str) -> None:
    """All files are there.

    Raises:
        FileNotFoundError: Names the first missing one, how many more, and the remedy.
    """
    wanted = list(paths)
    there = in_threads(Path.is_file, wanted, 'files')
    missing = [path for path, found in zip(wanted, there, strict=True) if not found]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(wanted)} files are missing, the first is '
            f'{str(missing[0])!r}: {remedy}'
        )


def require_count(what: str, found: int, expected: int, remedy: str) -> None:
    """The data are complete.

    Raises:
        ValueError: Another number.
    """
    if found != expected:
        raise ValueError(f'{what}: {found} found, {expected} expected: {remedy}')


def check_masks(masks: Sequence[Path], images: Sequence[Path], num_classes: int) -> None:
    """Every mask is readable, of its image's size, and holds only 0 ... C−1 and 255.

    Args:
        masks: Index PNGs.
        images: The image of each mask.
        num_classes: C.

    Raises:
        ValueError: Names the first mask that is wrong.
    """

    def check(pair: tuple[Path, Path]) -> None:
        try:
            counts, _ = read_mask(*pair)  # (256,)
            outside = np.flatnonzero(counts[num_classes:255])
            if outside.size:
                raise ValueError(
                    f'mask {str(pair[0])!r} holds the label {num_classes + outside[0]}, but the '
                    f'labels are 0 ... {num_classes - 1} and 255 (ignore)'
                )
        except ValueError as error:
            raise ValueError(f'{error}. Delete it and run this again with the downloads') from error

    in_threads(check, list(zip(masks, images, strict=True)), 'checking masks')
