"""Cityscapes: masks of the 19 classes that count ("trainIds") from the masks of all labels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from .files import check_masks, in_threads, require_count, require_files, write_atomic

COUNTS = {'train': 2975, 'val': 500}
IMAGE, LABELS, MASK = '_leftImg8bit.png', '_gtFine_labelIds.png', '_gtFine_labelTrainIds.png'
SOURCE = (
    '{}_trainvaltest.zip, on the downloads page of the Cityscapes data set (registration needed), '
    'has it: unpack it at the data root'
)
# Label ids of the classes 0 ... 18, as in labels.py of cityscapesScripts. The other ids up to 33,
# and -1 (255 in a file), do not count.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
MAX_LABEL_ID = 33


def prepare_cityscapes(root: str | Path, counts: Mapping[str, int] = COUNTS) -> dict[str, int]:
    """Make the ``*_gtFine_labelTrainIds.png`` that are not there, and check all.

    Finished files are kept, so an interrupted run goes on where it stopped.

    Args:
        root: Holds ``leftImg8bit`` and ``gtFine``, unpacked.
        counts: Images of each part.

    Returns:
        Masks made in this run, by part.

    Raises:
        FileNotFoundError: Names what is missing and where it is downloaded.
        ValueError: Images are missing, or a mask is damaged.
    """
    root, made = Path(root), {}
    for part, expected in counts.items():
        images = image_files(root, part)
        folder = root / 'leftImg8bit' / part
        require_count(str(folder), len(images), expected, SOURCE.format('leftImg8bit'))
        bases = [
            root / 'gtFine' / part / path.parent.name / path.name.removesuffix(IMAGE)
            for path in images
        ]
        masks = [Path(f'{base}{MASK}') for base in bases]
        todo = [base for base, mask in zip(bases, masks, strict=True) if not mask.is_file()]
        require_files((Path(f'{base}{LABELS}') for base in todo), SOURCE.format('gtFine'))
        in_threads(_make_mask, todo, f'writing masks of {part}')
        check_masks(masks, images, len(LABEL_IDS))
        made[part] = len(todo)
    return made


def image_files(root: str | Path, part: str) -> list[Path]:
    """Images of a part, ``leftImg8bit/<part>/<city>/*_leftImg8bit.png``, sorted.

    Raises:
        FileNotFoundError: No such folder.
    """
    folder = Path(root) / 'leftImg8bit' / part
    if not folder.is_dir():
        remedy = SOURCE.format('leftImg8bit')
        raise FileNotFoundError(f'no folder {str(folder)!r} (from {Path.cwd()}): {remedy}')
    return sorted(folder.glob(f'*/*{IMAGE}'))


def train_ids(labels: np.ndarray) -> np.ndarray:
    """Class 0 ... 18 of each label id, 255 where it does not count; uint8, any shape.

    Raises:
        ValueError: An id that Cityscapes does not have.
    """
    unknown = labels[(labels > MAX_LABEL_ID) & (labels != 255)]
    if unknown.size:
        raise ValueError(f'label id {unknown[0]}, but they are 0 ... {MAX_LABEL_ID}, or 255 for -1')
    table = np.full(256, 255, dtype=np.uint8)
    table[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
    return table[labels]


def _make_mask(base: Path) -> None:
    source, buffer = f'{base}{LABELS}', io.BytesIO()
    try:
        with Image.open(source) as file:
            classes = train_ids(np.asarray(file))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f'cannot read {source!r}: {error}. Unpack gtFine_trainvaltest.zip again'
        ) from error
    Image.fromarray(classes).save(buffer, 'PNG')
    write_atomic(Path(f'{base}{MASK}'), buffer.getvalue())
