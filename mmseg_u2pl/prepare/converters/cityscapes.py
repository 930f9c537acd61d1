"""Cityscapes: masks of the 19 evaluated classes ("trainIds") from the masks of all labels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ...datasets.threads import in_threads
from .files import check_masks, require_count, require_files, write_atomic

COUNTS = {'train': 2975, 'val': 500}
IMAGE, LABELS, MASK = '_leftImg8bit.png', '_gtFine_labelIds.png', '_gtFine_labelTrainIds.png'
SOURCE = (
    'unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip at the data root; they are on '
    'the downloads page of Cityscapes (registration needed)'
)
# Label ids of the classes 0 ... 18, as in labels.py of cityscapesScripts. The other ids up to 33,
# and -1 (255 in a file), are ignored.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
MAX_LABEL_ID = 33


def prepare_cityscapes(root: str | Path, counts: Mapping[str, int] = COUNTS) -> dict[str, int]:
    """Make the missing ``*_gtFine_labelTrainIds.png``, and check all of them.

    Args:
        root: Holds ``leftImg8bit`` and ``gtFine``, unpacked.
        counts: Images of each part.

    Returns:
        Masks made in this run, by part.

    Raises:
        FileNotFoundError: Names what is missing and where it is downloaded.
        ValueError: Images are missing, or a mask is damaged.
    """
    made = {}
    for part, expected in counts.items():
        folder, stems = Path(root, 'leftImg8bit', part), image_stems(root, part)
        require_count(str(folder), len(stems), expected, SOURCE)
        bases = [f'{root}/gtFine/{part}/{stem}' for stem in stems]
        todo = [base for base in bases if not Path(base + MASK).is_file()]
        require_files((Path(base + LABELS) for base in todo), SOURCE)
        list(in_threads(_make_mask, todo, f'writing masks of {part}'))
        images = [folder / f'{stem}{IMAGE}' for stem in stems]
        check_masks([Path(base + MASK) for base in bases], images, len(LABEL_IDS))
        made[part] = len(todo)
    return made


def image_stems(root: str | Path, part: str) -> list[str]:
    """``<city>/<image>`` of ``leftImg8bit/<part>/<city>/<image>_leftImg8bit.png``, sorted."""
    paths = sorted(Path(root, 'leftImg8bit', part).glob(f'*/*{IMAGE}'))
    return [f'{path.parent.name}/{path.name.removesuffix(IMAGE)}' for path in paths]


def train_ids(labels: np.ndarray) -> np.ndarray:
    """Class 0 ... 18 of each label id, 255 where it is ignored; uint8, any shape."""
    unknown = labels[(labels > MAX_LABEL_ID) & (labels != 255)]
    if unknown.size:
        raise ValueError(f'label id {unknown[0]}, but they are 0 ... {MAX_LABEL_ID}, or 255 for -1')
    table = np.full(256, 255, dtype=np.uint8)
    table[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
    return table[labels]


def _make_mask(base: str) -> None:
    buffer = io.BytesIO()
    try:
        with Image.open(base + LABELS) as file:
            Image.fromarray(train_ids(np.asarray(file))).save(buffer, 'PNG')
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'cannot read {base + LABELS!r}: {error}. Unpack gtFine again') from error
    write_atomic(Path(base + MASK), buffer.getvalue())
