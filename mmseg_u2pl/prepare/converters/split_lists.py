"""Published lists of labeled images under this project's names, with their provenance.

VOC "blender" (parts of train_aug) and Cityscapes have two families of lists, of U²PL and of CPS.
Their scores cannot be compared, so the family is part of a list's name. The "classic" lists, parts
of VOC's 1464, are the same everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...datasets.files import list_text
from ...version import __version__
from ..split_files import changed_files, summarize
from .cityscapes import image_stems
from .files import read_stems, require_count, require_files
from .voc import LISTS


class Scheme(NamedTuple):
    """What is known of the published lists of one data set.

    ``stem`` matches an image in a line's first column; its group ``city`` is the image's folder.
    ``pool`` gives the stems of all ``size`` training images, and of those with VOC's masks. By
    number of labeled images: ``ratios`` in names, ``families`` by number of VOC's masks, ``classic``.
    """

    stem: str
    pool: Callable[[str | Path], tuple[set[str], set[str]]]
    size: int
    ratios: Mapping[int, str]
    families: Mapping[int, Mapping[int, str]] = {}
    classic: Sequence[int] = ()
    prefix: str = ''


def _voc_pool(root: str | Path) -> tuple[set[str], set[str]]:
    folder = Path(root, LISTS)
    require_files([folder / 'train_aug.txt'], 'Run tools/dataset_converters/voc12.py')
    return set(read_stems(folder / 'train_aug.txt')), set(read_stems(folder / 'train.txt'))


SCHEMES = {
    'voc': Scheme(
        stem=r'(?<![^/])\d{4}_\d{6}(?=(?:\.jpg)?$)',
        pool=_voc_pool,
        size=10_582,
        ratios={662: '1_16', 1323: '1_8', 2646: '1_4', 5291: '1_2'},
        families={
            662: {662: 'u2pl', 93: 'cps'},
            1323: {1323: 'u2pl', 193: 'cps'},
            2646: {388: 'cps'},
            5291: {742: 'cps'},
        },
        classic=(92, 183, 366, 732, 1464),
        prefix='blender-',
    ),
    'cityscapes': Scheme(
        stem=r'(?<![^/])(?P<city>[a-z]+)_\d{6}_\d{6}(?=(?:_leftImg8bit)?(?:\.png)?$)',
        pool=lambda root: (set(image_stems(root, 'train')), set()),
        size=2975,
        ratios={186: '1_16', 372: '1_8', 744: '1_4', 1488: '1_2'},
    ),
}


def import_splits(
    scheme: Scheme, folder: str | Path, root: str | Path, family: str, force: bool = False
) -> dict[str, int]:
    """Write ``splits/<name>_{labeled,unlabeled}.txt``; merge them into ``splits/provenance.json``.

    Args:
        scheme: One of :data:`SCHEMES`.
        folder: Copy of the publishing repository. Every ``*.txt`` below it with "labeled" in its
            name is looked at; lists of other data sets or sizes are left out.
        root: The data set, prepared by its converter. The unlabeled images are the rest of it.
        family: ``'u2pl'`` or ``'cps'``, where the content of a list does not tell.
        force: Overwrite lists of other content.

    Returns:
        Number of labeled images by name.

    Raises:
        OSError: The data set is missing, or a list exists with other content.
        ValueError: No list is found, or names the list that is wrong.
    """
    pool, voc = scheme.pool(root)
    require_count(f'training images in {str(root)!r}', len(pool), scheme.size, 'run the converter')
    sources: dict[str, Path] = {}
    lists: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob('*.txt')):
        stems = _read(scheme, path) if 'labeled' in path.name.replace('unlabeled', '') else []
        if len(stems) not in (*scheme.classic, *scheme.ratios):
            continue
        if unknown := set(stems) - pool:
            raise ValueError(f'the list {str(path)!r} names {min(unknown)!r}: not a training image')
        name = _name(scheme, path, len(stems), len(voc & set(stems)), family)
        if lists.setdefault(f'{name}_labeled', stems) != stems:
            both = f'{str(sources[name])!r} and {str(path)!r}'
            raise ValueError(f'{both} are both {name}, with different images: give one folder')
        sources.setdefault(name, path)
        lists[f'{name}_unlabeled'] = sorted(pool - set(stems))
    if not sources:
        raise ValueError(f'no published list of the data set below {str(folder)!r} ({Path.cwd()})')
    _write(Path(root, 'splits'), lists, sources, force)
    return {name: len(lists[f'{name}_labeled']) for name in sources}


def _read(scheme: Scheme, path: Path) -> list[str]:
    """Sorted stems of a list, each once; those that are not of this data set are left out."""
    found = [match for line in read_stems(path) if (match := re.search(scheme.stem, line))]
    return sorted({f'{m["city"]}/{m[0]}' if m.re.groups else m[0] for m in found})


def _name(scheme: Scheme, path: Path, number: int, voc: int, family: str) -> str:
    """Name of a list of ``number`` images, of which ``voc`` have VOC's masks."""
    classic = number in scheme.classic
    known = {number: 'classic'} if classic else scheme.families.get(number, {})
    family = 'classic' if classic else known.get(voc, family)
    if family in known.values() and known.get(voc) != family:
        counts = f"{voc} of its {number} images have VOC's masks; known are {list(known)}"
        raise ValueError(f'the list {str(path)!r} is not of the family {family}: {counts}')
    prefix, ratio = ('', '') if classic else (scheme.prefix, f'{scheme.ratios[number]}-')
    return f'{prefix}{family}-{ratio}{number}'


def _write(
    folder: Path, lists: dict[str, list[str]], sources: dict[str, Path], force: bool
) -> None:
    """Write the lists, and in ``provenance.json`` what they are."""
    record = folder / 'provenance.json'
    whole = json.loads(record.read_text(encoding='utf-8')) if record.is_file() else {}
    entries = summarize(lists, None, ())
    for name, entry in entries.items():
        split = name.rpartition('_')[0]
        family = next(word for word in split.split('-') if word in ('classic', 'u2pl', 'cps'))
        source = '/'.join(sources[split].parts[-3:])
        entry.update(family=family, source=source, tool='import_splits', version=__version__)
    whole['lists'] = {**whole.get('lists', {}), **entries}
    contents = {folder / f'{name}.txt': list_text(stems) for name, stems in lists.items()}
    changed = changed_files(contents, force)
    folder.mkdir(parents=True, exist_ok=True)
    for path in changed:
        path.write_bytes(contents[path])
    text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + '\n'
    record.write_text(text, encoding='utf-8')
