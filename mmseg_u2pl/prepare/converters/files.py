"""What the converters share: whole files or none, and checks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ...datasets.files import numbered_lines
from ...datasets.threads import in_threads
from ..index_masks import read_mask


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file and its folders. An interruption leaves the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    part.write_bytes(content)
    os.replace(part, path)


def read_stems(path: Path) -> list[str]:
    """The first column of every line."""
    return [line.split()[0] for _, line in numbered_lines(path)]


def require_files(paths: Iterable[Path], remedy: str) -> None:
    """Raise FileNotFoundError with the first missing file, the number of them and the remedy."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        first = f'the first is {str(missing[0])!r}'
        raise FileNotFoundError(f'{len(missing)} files are missing, {first}. {remedy}')


def require_count(what: str, found: int, expected: int, remedy: str) -> None:
    """Raise ValueError unless the data are complete."""
    if found != expected:
        raise ValueError(f'{what}: {found} found, {expected} expected. {remedy}')


def check_masks(masks: Sequence[Path], images: Sequence[Path], num_classes: int) -> None:
    """Raise ValueError unless every mask fits its image and holds only 0 ... C−1 and 255."""

    def check(pair: tuple[Path, Path]) -> None:
        try:
            outside = np.flatnonzero(read_mask(*pair)[0][num_classes:255])
            if outside.size:
                raise ValueError(f'mask {str(pair[0])!r} has the label {num_classes + outside[0]}')
        except ValueError as error:
            raise ValueError(f'{error}. Delete it and run this again with the downloads') from error

    list(in_threads(check, list(zip(masks, images, strict=True)), 'checking masks'))
