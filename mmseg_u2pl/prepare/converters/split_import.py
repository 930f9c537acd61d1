"""Published lists of labeled images, brought to this project's names and checked.

Two families of lists exist for VOC "blender" (parts of train_aug) and for Cityscapes: U²PL's own
and those of CPS, which UniMatch took over. Scores on one say nothing about the other, so the
family is in a list's name and provenance, and VOC lists must have the content of their family.
The "classic" lists, parts of VOC's own 1464, are the same everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...prepare.split_files import list_text, summarize
from ...version import __version__
from .files import numbered_lines, require_count, write_atomic
from .split_schemes import CLASSIC, FAMILIES, Pool, Scheme


class Imported(NamedTuple):
    """One split: name without ``_labeled``, family, and the lists' stems, sorted."""

    name: str
    family: str
    labeled: list[str]
    unlabeled: list[str]
    source: Path


def import_splits(
    scheme: Scheme,
    family: str,
    sources: Sequence[str | Path],
    root: str | Path,
    force: bool = False,
) -> list[Imported]:
    """Write ``splits/<name>_{labeled,unlabeled}.txt`` and merge them into ``provenance.json``.

    A list's number of images tells which one it is. The unlabeled list is the rest of the
    training images; one that comes with the labeled list must be just that.

    Args:
        scheme: One of ``split_schemes.SCHEMES``.
        family: Key of ``FAMILIES``; classic sizes are of the family "classic" in any case.
        sources: Lists, or folders with lists that have "labeled" in their names.
        root: The data set, prepared.
        force: Overwrite lists of other content.

    Raises:
        FileNotFoundError: A source, the data or a part of them is missing.
        FileExistsError: A list is there with other content; nothing is written then.
        ValueError: Names the list, its line and what is wrong with it.
    """
    root = Path(root)
    if family not in FAMILIES:
        raise ValueError(f'family {family!r}: choose one of {", ".join(FAMILIES)}')
    paths = list(_labeled_lists(sources, FAMILIES[family]))
    pool = scheme.read_pool(root)
    require_count(f'training images in {str(root)!r}', len(pool.stems), scheme.size,
                  'the data are not complete; run the converter again')  # fmt: skip
    splits: dict[str, Imported] = {}
    for path in paths:
        split = _read_split(scheme, FAMILIES[family], path, pool)
        other = splits.setdefault(split.name, split)
        if other.labeled != split.labeled:
            raise ValueError(
                f'{str(other.source)!r} and {str(path)!r} are both {split.name}, with different '
                'images: import the one you mean'
            )
    _write(root / 'splits', list(splits.values()), force)
    return list(splits.values())


def _labeled_lists(sources: Sequence[str | Path], family: str) -> Iterator[Path]:
    for source in map(Path, sources):
        if source.is_file():
            yield source
            continue
        if not source.is_dir():
            raise FileNotFoundError(f'no list or folder {str(source)!r} (from {Path.cwd()})')
        found = [
            path
            for path in sorted(source.rglob('*.txt'))
            if 'labeled' in path.name.replace('unlabeled', '')
            # UniMatch has U²PL's lists too, in folders named so
            and not (family == 'cps' and path.parent.name.startswith('u2pl'))
        ]
        if not found:
            raise ValueError(
                f'no list in {str(source)!r} has "labeled" in its name: name the files instead'
            )
        yield from found


def _read_split(scheme: Scheme, family: str, path: Path, pool: Pool) -> Imported:
    labeled = _read_stems(scheme, path, pool.stems)
    number = len(labeled)
    if number in scheme.classic:
        family, name = CLASSIC, f'classic-{number}'
    elif number in scheme.ratios and family != CLASSIC:
        name = f'{scheme.prefix}{family}-{scheme.ratios[number]}-{number}'
    else:
        known = [*scheme.classic, *(scheme.ratios if family != CLASSIC else ())]
        raise ValueError(
            f'the list {str(path)!r} has {number} images, but the {family} lists have '
            f'{", ".join(map(str, known))}: it is not one of them, or not whole'
        )
    own = len(labeled & pool.own)
    expected = number if family == CLASSIC else scheme.own_masks.get(family, {}).get(number)
    others = [
        f for f, sizes in scheme.own_masks.items() if f != family and sizes.get(number) == own
    ]
    if own != expected and (expected is not None or others):
        raise ValueError(
            f'the list {str(path)!r} is not of the family {family}: {own} of its {number} images '
            f"have VOC's own masks"
            + (f', {expected} have in that list' if expected is not None else '')
            + (f'. It looks like --family {others[0]}' if others else '')
        )
    rest = pool.stems - labeled
    partner = path.with_name(path.name.replace('labeled', 'unlabeled'))
    if partner != path and partner.is_file():
        unlabeled = _read_stems(scheme, partner, pool.stems)
        if unlabeled != rest:
            wrong = sorted(unlabeled & labeled) or sorted(unlabeled ^ rest)
            raise ValueError(
                f'{str(partner)!r} is not the rest of the {len(pool.stems)} training images: '
                f'{len(wrong)} differ, the first is {wrong[0]!r}. Import {path.name!r} from a '
                'folder without it, and the rest is taken'
            )
    return Imported(name, family, sorted(labeled), sorted(rest), path)


def _read_stems(scheme: Scheme, path: Path, pool: frozenset[str]) -> frozenset[str]:
    stems: dict[str, int] = {}
    for number, column in numbered_lines(path):
        match = re.search(scheme.stem, column)
        where = f'{str(path)!r}, line {number}, {column!r}'
        if not match:
            raise ValueError(f'{where}: no such image name. A line is {scheme.example}')
        city = match.groupdict().get('city')
        stem = f'{city}/{match[0]}' if city else match[0]
        if stem not in pool:
            raise ValueError(f'{where}: no training image {stem!r} in the data root')
        if stems.setdefault(stem, number) != number:
            raise ValueError(f'{where}: it is there twice, first in line {stems[stem]}')
    return frozenset(stems)


def _write(folder: Path, splits: Sequence[Imported], force: bool) -> None:
    stems = {
        f'{s.name}_{part}': getattr(s, part) for s in splits for part in ('labeled', 'unlabeled')
    }
    contents = {folder / f'{name}.txt': list_text(part) for name, part in stems.items()}
    for path, content in contents.items():
        if path.exists() and path.read_bytes() != content and not force:
            raise FileExistsError(f'{str(path)!r} is there and differs: --force overwrites it')

    summary = summarize(stems, None, ())
    for split in splits:
        for part in ('labeled', 'unlabeled'):
            summary[f'{split.name}_{part}'].update(
                family=split.family,
                source='/'.join(split.source.parts[-3:])
                + ('' if part == 'labeled' else ', the rest'),
                tool='import_splits',
                version=__version__,
            )
    path = folder / 'provenance.json'
    provenance = _merged(path, summary)
    for list_path, content in contents.items():
        write_atomic(list_path, content)
    text = json.dumps(provenance, indent=1, sort_keys=True, ensure_ascii=False) + '\n'
    write_atomic(path, text.encode())


def _merged(path: Path, summary: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What the file says already, with our lists."""
    provenance: dict[str, Any] = {}
    try:
        if path.is_file():
            provenance = json.loads(path.read_text(encoding='utf-8'))
        lists = {name: dict(entry) for name, entry in provenance.get('lists', {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f'{str(path)!r} is no provenance of lists: {error}. Delete it') from error
    for name, new in summary.items():
        for other, entry in lists.items():
            same = entry.get('sha256') == new['sha256'] and other not in summary
            if same and entry.get('family', new['family']) != new['family']:
                raise ValueError(
                    f'{name} has the very images of {other}, which is of the family '
                    f'{entry["family"]}: one of them was imported with the wrong --family. If it '
                    f'was {other}, delete that list and its entry in {str(path)!r}'
                )
    return {**provenance, 'lists': {**lists, **summary}}
