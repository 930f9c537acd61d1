"""Find the images and index masks of a folder by stem, and count the classes in the masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..datasets.files import (
    image_size,
    images_by_stem,
    in_threads,
    list_text,
    require_size,
    sha256_of,
)
from ..datasets.masks import LoadMask


class Masks(NamedTuple):
    """Stems that have a mask, sorted; pixels of each class int64 (N, C); hash of the files."""

    stems: list[str]
    counts: np.ndarray
    sha256: str


def find_images(folder: str | Path) -> dict[str, Path]:
    """Image files below a folder by stem, sorted: path in the folder, ``/``, without suffix.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No image, or two of one stem.
    """
    found: dict[str, Path] = {}
    for stem, names in sorted(images_by_stem(folder).items()):
        path = found[stem] = Path(folder, min(names))
        if len(names) > 1:
            raise ValueError(
                f'{str(path)!r} and {str(Path(folder, max(names)))!r} have one stem: rename one'
            )
    return found


def read_masks(
    images: Mapping[str, Path],
    folder: str | Path,
    num_classes: int | None = None,
    ignore_index: int = 255,
) -> Masks:
    """Count the classes in the index masks of a folder, which have the stems of the ``images``.

    Args:
        images: Image files by stem.
        folder: Grey or palette images.
        num_classes: C; by default what the largest label needs.
        ignore_index: Label of pixels that do not count.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: A mask without image or as :func:`read_mask`; a label that is not a class.
    """
    masks = find_images(folder)
    require_images(masks, images)
    pairs = [(path, images[stem]) for stem, path in masks.items()]
    rows, hashes = zip(
        *in_threads(lambda pair: read_mask(*pair, LoadMask()), pairs, 'masks'), strict=True
    )
    counts = np.stack(rows)  # (N, 256)
    counts[:, ignore_index : ignore_index + 1] = 0  # nothing outside of 0 ... 255
    width = num_classes or int(np.flatnonzero(counts.any(0)).max(initial=0)) + 1
    for index, label in np.argwhere(counts[:, width:])[:1]:
        raise ValueError(
            f'mask {str(pairs[index][0])!r} holds the label {width + label}, but the classes are '
            f'0 ... {width - 1}: correct --classes or --ignore-index (now {ignore_index}), or map it'
        )
    return Masks(list(masks), counts[:, :width], masks_sha256(masks, hashes))


def read_mask(path: Path, image: Path, load: LoadMask) -> tuple[np.ndarray, str]:
    """Pixels of each label 0 ... 255 (256,), and the file's hash.

    Raises:
        ValueError: A file that is not an image, a mask of another size, or as ``load``.
    """
    content = path.read_bytes()
    labels = load.decode(content, str(path))
    require_size(path, labels.shape[::-1], image, image_size(image))
    return np.bincount(labels.ravel(), minlength=256), sha256_of(content)


def require_images(masks: Mapping[str, Path], images: Mapping[str, Path]) -> None:
    """Raise ValueError unless every mask has an image of its stem."""
    alone = [str(path) for stem, path in masks.items() if stem not in images]
    if alone:
        raise ValueError(
            f'{len(alone)} masks have no image of their stem, the first is {alone[0]!r}: add it'
        )


def masks_sha256(stems: Iterable[str], hashes: Iterable[str]) -> str:
    """One hash of all masks, from the hash of each."""
    return sha256_of(list_text(f'{stem} {file}' for stem, file in zip(stems, hashes, strict=True)))
