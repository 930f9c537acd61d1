"""Published lists of labeled images under this project's names, with their provenance.

VOC "blender" (parts of train_aug) and Cityscapes have two families of lists, of U²PL and of CPS.
Their scores cannot be compared, so the family is part of a list's name. The "classic" lists, parts
of VOC's 1464, are the same everywhere. Those of ADE20K and COCO are UniMatch's and UniMatch V2's.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..datasets.files import numbered_lines
from ..version import __version__
from .split_files import summarize, write_lists


class Scheme(NamedTuple):
    """What is known of the published lists of one data set.

    ``stem`` matches an image in a line's first column; its group ``city`` is the image's folder.
    The ``size`` training images have the files ``<stem><suffix>`` in ``images`` of the data root.
    ``names`` of lists are by number of images, and by how many of these have VOC's masks, None for
    any other number; ``{}`` is the family. ``lists`` is VOC's folder of ``train`` and ``val``.
    """

    stem: str
    images: str
    suffix: str
    size: int
    names: Mapping[int, Mapping[int | None, str]]
    lists: str = ''


CLASSIC = (92, 183, 366, 732, 1464)
SCHEMES = {
    'voc': Scheme(
        stem=r'(?<![^/])\d{4}_\d{6}(?=(?:\.jpg)?$)',
        images='SegmentationClassAug',
        suffix='.png',
        size=10_582,
        names={
            **{number: {number: f'classic-{number}'} for number in CLASSIC},
            662: {662: 'blender-u2pl-1_16-662', 93: 'blender-cps-1_16-662'},
            1323: {1323: 'blender-u2pl-1_8-1323', 193: 'blender-cps-1_8-1323'},
            2646: {None: 'blender-u2pl-1_4-2646', 388: 'blender-cps-1_4-2646'},
            5291: {None: 'blender-u2pl-1_2-5291', 742: 'blender-cps-1_2-5291'},
        },
        lists='ImageSets/Segmentation',
    ),
    'cityscapes': Scheme(
        stem=r'(?<![^/])(?P<city>[a-z]+)_\d{6}_\d{6}(?=(?:_leftImg8bit)?(?:\.png)?$)',
        images='leftImg8bit/train',
        suffix='_leftImg8bit.png',
        size=2975,
        names={
            number: {None: f'{{}}-1_{divisor}-{number}'}
            for number, divisor in ((186, 16), (372, 8), (744, 4), (1488, 2))
        },
    ),
    'ade20k': Scheme(
        stem=r'(?<![^/])ADE_train_\d{8}(?=(?:\.jpg)?$)',
        images='images/training',
        suffix='.jpg',
        size=20_210,
        names={
            number: {None: f'unimatch-1_{divisor}-{number}'}
            for number, divisor in ((316, 64), (631, 32), (1263, 16), (2526, 8))
        },
    ),
    'coco_stuff': Scheme(
        stem=r'(?<![^/])\d{12}(?=(?:\.jpg)?$)',
        images='images/train2017',
        suffix='.jpg',
        size=118_287,
        names={
            number: {None: f'unimatch-1_{divisor}-{number}'}
            for number, divisor in ((232, 512), (463, 256), (925, 128), (1849, 64), (3697, 32))
        },
    ),
}


def import_splits(
    scheme: Scheme, folder: str | Path, root: str | Path, family: str = '', force: bool = False
) -> list[str]:
    """Write ``splits/<name>_{labeled,unlabeled}.txt``; merge them into ``splits/provenance.json``.

    Every ``*.txt`` with "labeled" in its name below ``folder``, a copy of the publishing repository,
    is looked at; lists of other data sets or sizes are left out. Unlabeled is the rest of the
    prepared data set at ``root``. ``family`` is ``'u2pl'`` or ``'cps'``, of lists whose content does
    not tell; ``force`` overwrites lists of other content. Returns the names.

    Raises:
        OSError: A list of the data set is missing, or a list exists with other content.
        ValueError: Training images are missing, no list is found, or names the list that is wrong.
    """
    pool, voc = _training_images(scheme, root)
    lists: dict[str, list[str]] = {}
    sources: dict[str, str] = {}
    for path in sorted(Path(folder).rglob('*.txt')):
        if 'labeled' not in path.name.replace('unlabeled', ''):
            continue
        found = [m for line in _first_column(path) if (m := re.search(scheme.stem, line))]
        stems = sorted({f'{m["city"]}/{m[0]}' if m.re.groups else m[0] for m in found})
        if len(stems) not in scheme.names:
            continue
        if unknown := set(stems) - pool:
            raise ValueError(f'the list {str(path)!r} names {min(unknown)!r}: not a training image')
        names, number = scheme.names[len(stems)], len(voc & set(stems))
        if number not in names and None not in names:
            raise ValueError(
                f'the list {str(path)!r} is not published: {number} of its {len(stems)} images '
                f"have VOC's masks, of those published {' or '.join(map(str, names))}"
            )
        name = (names.get(number) or names[None]).format(family)
        source = '/'.join(path.parts[-3:])
        if lists.setdefault(name, stems) != stems:
            raise ValueError(
                f'{sources[name]!r} and {source!r} are both {name}, with different images: give '
                'one folder'
            )
        sources.setdefault(name, source)
    if not lists:
        raise ValueError(f'no published list of the data set below {str(folder)!r} ({Path.cwd()})')
    out = Path(root, 'splits')
    record = out / 'provenance.json'
    whole = json.loads(record.read_text(encoding='utf-8')) if record.is_file() else {}
    entries = whole.setdefault('lists', {})
    stems_of: dict[str, list[str]] = {}
    for name, stems in lists.items():
        parts = {f'{name}_labeled': stems, f'{name}_unlabeled': sorted(pool - set(stems))}
        stems_of.update(parts)
        about = dict(family=name.removeprefix('blender-').split('-')[0], source=sources[name])
        for part, entry in summarize(parts, None, ()).items():
            entries[part] = dict(entry, **about, tool='import_splits', version=__version__)
    write_lists(out, stems_of, whole, force)
    return sorted(lists)


def _training_images(scheme: Scheme, root: str | Path) -> tuple[set[str], set[str]]:
    """Stems of all, and of those with VOC's masks."""
    place = Path(root, scheme.images)
    paths = (path.relative_to(place).as_posix() for path in place.rglob(f'*{scheme.suffix}'))
    pool, voc = {path.removesuffix(scheme.suffix) for path in paths}, set[str]()
    if scheme.lists:
        pool -= set(_first_column(Path(root, scheme.lists, 'val.txt')))
        voc = set(_first_column(Path(root, scheme.lists, 'train.txt')))
    if len(pool) != scheme.size:
        raise ValueError(
            f'{str(place)!r} has {len(pool)} training images, {scheme.size} expected: '
            'configs/README.md says how to prepare the data'
        )
    return pool, voc


def _first_column(path: Path) -> list[str]:
    return [line.split()[0] for _, line in numbered_lines(path)]
