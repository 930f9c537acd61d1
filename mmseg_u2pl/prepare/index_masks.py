"""Find the images and index masks of a folder by stem, and count the classes in the masks."""

from collections.abc import Mapping
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
    stem_of,
)
from ..datasets.masks import LoadMask
from ..functional import IGNORE


class Masks(NamedTuple):
    """Stems that have a mask, sorted; pixels of each class int64 (N, C); hash of the files."""

    stems: list[str]
    counts: np.ndarray
    sha256: str


def find_images(folder: str | Path) -> dict[str, Path]:
    """Image files below a folder by stem, sorted: path in the folder, ``/``, without suffix.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No image, two of one stem, or a name that a line of a list cannot give.
    """
    found: dict[str, Path] = {}
    for stem, names in sorted(images_by_stem(folder).items()):
        path = found[stem] = Path(folder, min(names))
        if len(names) > 1:
            raise ValueError(
                f'{str(path)!r} and {str(Path(folder, max(names)))!r} have one stem: rename one'
            )
    for stem, path in found.items():
        try:
            stem.encode()
        except UnicodeEncodeError:
            raise ValueError(f'image {str(path)!a}: its name is not UTF-8: rename it') from None
        other = found.get(stem_of(stem)) if stem_of(stem) != stem else None
        if other or stem != stem.strip():
            why = f'a list would mean {str(other)!r} by {stem!r}' if other else 'a blank at an end'
            raise ValueError(f'image {str(path)!r}: {why}: rename it')
    return found


def read_masks(
    images: Mapping[str, Path], folder: str | Path, num_classes: int | None = None
) -> Masks:
    """Count the classes in a folder's index masks, which have the stems of the ``images``; 255 is none.

    Args:
        images: Image files by stem.
        folder: Gray or palette images.
        num_classes: C; by default what the largest label needs.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: A label that is not a class, or as :func:`count_labels`.
    """
    paths = find_images(folder)
    masks = count_labels(paths, images, LoadMask())
    counts = masks.counts
    counts[:, IGNORE] = 0
    width = num_classes or int(np.flatnonzero(counts.any(0)).max(initial=0)) + 1
    for index, label in np.argwhere(counts[:, width:])[:1]:
        raise ValueError(
            f'mask {str(paths[masks.stems[index]])!r} holds the label {width + label}, but the '
            f'classes are 0 ... {width - 1}, and {IGNORE} means ignore: correct --classes, or map it'
        )
    return masks._replace(counts=counts[:, :width])


def count_labels(masks: Mapping[str, Path], images: Mapping[str, Path], load: LoadMask) -> Masks:
    """Count the labels 0 ... 255 in mask files, counts (N, 256); both mappings are by stem.

    Raises:
        ValueError: A mask without image or of another size, a file that is not an image, or as
            ``load``.
    """
    if alone := [str(path) for stem, path in masks.items() if stem not in images]:
        raise ValueError(
            f'{len(alone)} masks have no image of their stem, the first is {alone[0]!r}: add it'
        )

    def read(stem: str) -> tuple[np.ndarray, str]:
        content = masks[stem].read_bytes()
        labels = load.decode(content, str(masks[stem]))
        require_size(masks[stem], labels.shape[::-1], images[stem], image_size(images[stem]))
        return np.bincount(labels.ravel(), minlength=256), f'{stem} {sha256_of(content)}'

    rows, hashes = zip(*in_threads(read, list(masks), 'masks'), strict=True)
    return Masks(list(masks), np.array(rows, dtype=np.int64), sha256_of(list_text(hashes)))
