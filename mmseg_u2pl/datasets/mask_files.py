"""Find the images and index masks of a folder by stem, and count the classes in the masks."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.progress import track

from .folder import IMAGE_SUFFIXES, image_files

_MODES = ('1', 'L', 'P', 'I', 'I;16')  # grey, or a palette's indices
_EXIF_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


def find_images(folder: str | Path) -> dict[str, Path]:
    """Image files below a folder by stem, sorted: path in the folder, ``/``, without suffix.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No image, two of one stem, or a name that a list cannot hold.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f'no folder {str(folder)!r} (from {Path.cwd()})')
    found: dict[str, Path] = {}
    for path in image_files(root):
        stem = path.relative_to(root).with_suffix('').as_posix()
        if stem in found:
            one, other = sorted((str(found[stem]), str(path)))
            raise ValueError(f'{one!r} and {other!r} have one stem {stem!r}: rename one')
        if stem != stem.strip() or len(stem.splitlines()) > 1:
            why = 'begins or ends with a space or has a line break; rename it'
            raise ValueError(f'{str(path)!r}: a list cannot hold a name that {why}')
        found[stem] = path
    if not found:
        endings = ', '.join(IMAGE_SUFFIXES)
        raise ValueError(f'no image found in {str(folder)!r}: none of its files ends in {endings}')
    return dict(sorted(found.items()))


class Masks(NamedTuple):
    """Stems that have a mask, sorted; pixels of each class int64 (N, C); hash of the files."""

    stems: list[str]
    counts: np.ndarray
    sha256: str


def read_masks(
    images: Mapping[str, Path],
    folder: str | Path,
    num_classes: int | None = None,
    ignore_index: int = 255,
) -> Masks:
    """Count the classes in the masks of a folder.

    Args:
        images: Image files by stem.
        folder: Masks with the images' stems: grey or palette index images.
        num_classes: C; by default what the largest label needs.
        ignore_index: Label of pixels that do not count.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: A mask without image, unreadable, not of its image's size, no index image,
            or with a label that is no class.
    """
    masks = find_images(folder)
    require_images(masks, images)

    def read(stem: str) -> tuple[np.ndarray, str]:
        return read_mask(masks[stem], images[stem])

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        reads = track(pool.map(read, masks), 'masks', total=len(masks), transient=True)
        rows, hashes = zip(*reads, strict=True)
    counts = np.zeros((len(masks), max(256, num_classes or 0)), dtype=np.int64)
    counts[:, :256] = rows  # mmseg reads masks as bytes
    if 0 <= ignore_index < 256:
        counts[:, ignore_index] = 0
    width = num_classes or int(np.flatnonzero(counts.any(0)).max(initial=0)) + 1
    for index, label in np.argwhere(counts[:, width:])[:1]:
        raise ValueError(
            f'mask {str(masks[list(masks)[index]])!r} holds the label {width + label}, but the '
            f'classes are 0 ... {width - 1} and {ignore_index} means ignore. Correct --classes or '
            '--ignore-index, or map the values (a 0/255 mask needs 255 → 1)'
        )
    return Masks(list(masks), counts[:, :width], masks_sha256(masks, hashes))


def require_images(masks: Mapping[str, Path], images: Mapping[str, Path]) -> None:
    """Every mask has an image of its stem.

    Raises:
        ValueError: One has not.
    """
    strangers = [str(path) for stem, path in masks.items() if stem not in images]
    if strangers:
        raise ValueError(
            f'{len(strangers)} masks have no image of their stem, the first is {strangers[0]!r}: '
            'add the image or take away the mask'
        )


def require_size(mask: Path, size: tuple[int, int], image: Path) -> None:
    """A mask of this width and height fits its image.

    Raises:
        ValueError: It does not.
    """
    expected = image_size(image)
    if size != expected:
        raise ValueError(
            f'mask {str(mask)!r} is {size[0]}x{size[1]} pixels, but its image {str(image)!r} '
            f'{expected[0]}x{expected[1]} (EXIF orientation applied): they must be the same size'
        )


def masks_sha256(stems: Iterable[str], hashes: Iterable[str]) -> str:
    """One hash of all masks, from the hash of each."""
    lines = (f'{stem} {file}\n' for stem, file in zip(stems, hashes, strict=True))
    return sha256_of(''.join(lines).encode())


def read_mask(path: Path, image: Path) -> tuple[np.ndarray, str]:
    """Pixels of each label 0 ... 255 (256,), and the file's hash."""
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as file:
            mode, size, labels = file.mode, file.size, np.asarray(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'cannot read the mask {str(path)!r}: {error}') from error
    if mode not in _MODES:
        raise ValueError(
            f'mask {str(path)!r} is a {mode} image. Index masks are needed, grey or palette, whose '
            'values are class numbers: map the colors to classes first'
        )
    require_size(path, size, image)
    if labels.min() < 0 or labels.max() > 255:
        values = f'{labels.min()} ... {labels.max()}'
        raise ValueError(f'mask {str(path)!r} holds labels {values}: mmseg reads 0 ... 255')
    return np.bincount(labels.ravel().astype(np.uint8), minlength=256), sha256_of(content)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height as mmcv loads the image: turned as its camera says."""
    try:
        with Image.open(path) as image:  # reads no pixels
            # asking a PNG without EXIF would decode it; a TIFF's size is turned already
            exif = image.getexif() if 'exif' in image.info else {}
            turned = exif.get(_EXIF_ORIENTATION) in _ON_ITS_SIDE
            return image.size[::-1] if turned else image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'cannot read the image {str(path)!r}: {error}') from error


def sha256_of(content: bytes) -> str:
    """The hash in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
