"""The images that a command line means: files, folders, patterns, lists and videos."""

import glob
import os
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
from mmcv import VideoReader

from ..datasets.files import IMAGE_SUFFIXES, image_names, line_of, numbered_lines

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm')


class Source(NamedTuple):
    """A file, and the name of what is predicted for it."""

    name: str
    """Path below the output folder, without suffix, with ``/``."""
    path: str

    @property
    def is_video(self) -> bool:
        """Whether it has frames, which are named ``<name>/000000``."""
        return self.path.lower().endswith(VIDEO_SUFFIXES)


class Item(NamedTuple):
    """An image to predict."""

    name: str
    image: str | np.ndarray
    """Its path or, of a video, the frame: uint8 (H, W, 3), BGR."""
    video: str | None = None

    @property
    def title(self) -> str:
        """For messages: the path or, of a frame, its name."""
        return self.image if isinstance(self.image, str) else self.name


def find_sources(words: Iterable[str | Path]) -> list[Source]:
    """Every file that the words mean, in their order, each with its own name.

    Args:
        words: Images and videos; folders, searched recursively for both; patterns (``**`` is any
            depth); lists ``*.txt`` of paths. Names are paths below the folder, below the part of a
            pattern without wildcards or, in a list, below the current folder.

    Raises:
        FileNotFoundError: A word or a line of a list means no file.
        ValueError: A folder without images and videos, another kind of file, two files of one name,
            or an image that has the name of a frame of a video.
    """
    found: dict[str, Source] = {}
    for word in words:
        for source in _meant(os.fspath(word)):
            first = found.setdefault(normalize('NFC', source.name), source)
            if first is not source and os.path.realpath(first.path) != os.path.realpath(
                source.path
            ):
                raise ValueError(
                    f'{first.path!r} and {source.path!r} would both be written as {source.name!r}: '
                    'rename one, predict them into two folders, or give the folder above both'
                )
    for name, source in found.items():
        for folder in map(str, PurePosixPath(name).parents):
            if folder in found and found[folder].is_video:
                raise ValueError(
                    f'{source.path!r} could be written as a frame of {found[folder].path!r}: predict '
                    'them into two folders'
                )
    return list(found.values())


def _meant(word: str) -> Iterator[Source]:
    if os.path.isdir(word):
        for name in image_names(word, IMAGE_SUFFIXES + VIDEO_SUFFIXES):
            yield _source(name, os.path.join(word, name))
    elif os.path.isfile(word) and word.lower().endswith('.txt'):
        for number, line in numbered_lines(word):
            if not os.path.isfile(line):
                raise FileNotFoundError(
                    f'{line_of(word, number)}no file {line!r} (from {Path.cwd()})'
                )
            name = os.path.normpath(line)
            outside = os.path.isabs(name) or name.startswith('..')
            yield _source(os.path.basename(name) if outside else name, line)
    elif os.path.isfile(word):
        yield _source(os.path.basename(word), word)
    elif glob.has_magic(word):
        fixed = takewhile(lambda part: not glob.has_magic(part), Path(word).parent.parts)
        root = Path(*fixed)
        files = [path for path in sorted(glob.glob(word, recursive=True)) if os.path.isfile(path)]
        if not files:
            raise FileNotFoundError(f'no file matches {word!r} (from {Path.cwd()})')
        for path in files:
            yield _source(os.path.relpath(path, root), path)
    else:
        raise FileNotFoundError(f'no file or folder {word!r} (from {Path.cwd()})')


def _source(name: str, path: str) -> Source:
    if not path.lower().endswith(IMAGE_SUFFIXES + VIDEO_SUFFIXES):
        endings = ' '.join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        if path.endswith('.pth'):
            raise ValueError(
                f'{path!r} is a checkpoint where images are expected: one comes first, then images'
            )
        raise ValueError(f'{path!r} is neither an image nor a video: they end in {endings}')
    return Source(os.path.splitext(name)[0].replace(os.sep, '/'), path)


def items(sources: Iterable[Source]) -> Iterator[Item]:
    """The images and, one by one, the frames of videos. A video without frames is one item."""
    for source in sources:
        if not source.is_video:
            yield Item(source.name, source.path)
            continue
        index = -1
        for index, frame in enumerate(VideoReader(source.path)):
            yield Item(f'{source.name}/{index:06d}', frame, source.path)
        if index < 0:
            yield Item(source.name, source.path, source.path)


def count(sources: Iterable[Source]) -> int:
    """Images and frames, by the headers of the videos."""
    return sum(max(0, VideoReader(s.path).frame_cnt) if s.is_video else 1 for s in sources)
