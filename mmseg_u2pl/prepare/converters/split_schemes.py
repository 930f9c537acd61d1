"""What is known of the published lists of labeled images: sizes, families, how a line looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .cityscapes import IMAGE, MASK, image_files
from .files import read_lines, require_files
from .voc import LISTS

FAMILIES = {'classic': 'classic', 'u2pl': 'u2pl', 'cps': 'cps', 'unimatch': 'cps'}
CLASSIC = 'classic'


class Pool(NamedTuple):
    """All training images by stem, and those with VOC's own masks (none in Cityscapes)."""

    stems: frozenset[str]
    own: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scheme:
    """The published lists of one data set.

    Attributes:
        stem: Group 0 of a match in a line's first column is the image; ``city``, if there, its
            folder.
        read_pool: Reads the training images of a data root.
        size: How many there are.
        ratios: Number of labeled images → ratio in a list's name; of lists that have families.
        prefix: Of those lists' names.
        classic: Numbers of labeled images of the classic lists.
        own_masks: Family → number of labeled images → how many of them have VOC's own masks.
        example: A line, for messages.
    """

    stem: str
    read_pool: Callable[[Path], Pool]
    size: int
    ratios: Mapping[int, str]
    prefix: str = ''
    classic: Sequence[int] = ()
    own_masks: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    example: str = ''


def voc_pool(root: Path) -> Pool:
    """train_aug of VOC; see ``tools/dataset_converters/voc12.py``."""
    lists = [root / LISTS / f'{part}.txt' for part in ('train_aug', 'train')]
    require_files(lists, 'tools/dataset_converters/voc12.py makes the data root ready')
    train_aug, train = (frozenset(read_lines(path)) for path in lists)
    masks = [root / 'SegmentationClassAug' / f'{stem}.png' for stem in train_aug]
    masks += [root / 'SegmentationClass' / f'{stem}.png' for stem in train]
    require_files(masks, 'tools/dataset_converters/voc12.py makes them')
    return Pool(train_aug, train)


def cityscapes_pool(root: Path) -> Pool:
    """The training images of Cityscapes that have a mask of the classes."""
    stems = [
        f'{path.parent.name}/{path.name.removesuffix(IMAGE)}' for path in image_files(root, 'train')
    ]
    require_files(
        (root / 'gtFine/train' / f'{stem}{MASK}' for stem in stems),
        'tools/dataset_converters/cityscapes.py makes them',
    )
    return Pool(frozenset(stems))


SCHEMES = {
    'voc': Scheme(
        stem=r'(?<![^/])\d{4}_\d{6}(?=(?:\.jpg)?$)',
        read_pool=voc_pool,
        size=10_582,
        ratios={662: '1_16', 1323: '1_8', 2646: '1_4', 5291: '1_2'},
        prefix='blender-',
        classic=(92, 183, 366, 732, 1464),
        own_masks={
            'u2pl': {662: 662, 1323: 1323},
            'cps': {662: 93, 1323: 193, 2646: 388, 5291: 742},
        },
        example='2007_000032, or JPEGImages/2007_000032.jpg SegmentationClass/2007_000032.png',
    ),
    'cityscapes': Scheme(
        stem=r'(?<![^/])(?P<city>[a-z]+)_\d{6}_\d{6}(?=(?:_leftImg8bit)?(?:\.png)?$)',
        read_pool=cityscapes_pool,
        size=2975,
        ratios={186: '1_16', 372: '1_8', 744: '1_4', 1488: '1_2'},
        example='leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png',
    ),
}
