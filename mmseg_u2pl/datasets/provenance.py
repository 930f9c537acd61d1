"""What the lists of a run are, where they come from, and that they do not overlap."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from .files import list_text, numbered_lines, sha256_of, stem_of

SCORED = ('val', 'test')


class Protocol(NamedTuple):
    """The images of a run, named alike on every machine.

    Lists of one draw or publication share a ``family``, which may be empty. ``digest`` is eight digits
    of the hash of the list's lines.
    """

    name: str
    family: str
    list_name: str
    digest: str


class Images(NamedTuple):
    """Image files of a data set: their paths, the list that names them or '', the image folder."""

    paths: Sequence[str]
    ann_file: str
    folder: str


def list_record(path: str | Path) -> dict[str, Any]:
    """What ``provenance.json`` beside a list says of it: ``sha256``, ``family``; empty if nothing.

    Raises:
        ValueError: The file is not such a record.
    """
    file = Path(path).parent / 'provenance.json'
    if not path or not file.is_file():
        return {}
    try:
        whole = json.loads(file.read_text(encoding='utf-8'))
        record = dict(whole['lists'].get(Path(path).stem, {}))
        if record and 'family' not in record and 'options' in whole:
            method, seed = (whole['options'][key] for key in ('method', 'seed'))
            record['family'] = f'{whole["tool"]} {method} seed {seed}'
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = 'is not a record of lists: restore it, make the lists again, or delete it'
        raise ValueError(f'{str(file)!r} {why} ({error!r})') from error
    return record


def protocol_of(parts: Sequence[Images]) -> Protocol:
    """What the images of one or several data sets are together; where they lie does not matter.

    Named ``'<family> <list> <digest>'``, a data set without list ``'all of <folder> <digest>'``. The
    hash is that of the lines without image suffixes.

    Raises:
        ValueError: A list was edited since it was recorded, or as :func:`list_record`.
    """
    parts_of = [_protocol_of(part) for part in parts]
    if len(parts_of) == 1:
        return parts_of[0]
    names, families, lists, digests = zip(*parts_of, strict=True)
    family = ' + '.join(sorted(set(families))) if all(families) else ''
    digest = sha256_of(list_text(digests))[:8]
    return Protocol(' + '.join(names), family, ' + '.join(lists), digest)


def _protocol_of(images: Images) -> Protocol:
    path, folder = images.ann_file, images.folder or '.'
    record = list_record(path)
    if path:
        name, stems = Path(path).stem, [stem_of(line) for _, line in numbered_lines(path)]
    else:
        name = f'all of {os.path.basename(os.path.abspath(folder))}'
        stems = sorted(Path(stem_of(os.path.relpath(p, folder))).as_posix() for p in images.paths)
    sha256 = sha256_of(list_text(stems))
    # of images such as x.jpg.png the tools write x.jpg
    written = [line for _, line in numbered_lines(path)] if path else stems
    if record and record.get('sha256') not in (sha256, sha256_of(list_text(written))):
        raise ValueError(
            f'the list {str(path)!r} was edited after it was made. Restore it, make it again with '
            f'--force, or, if you mean it, delete the entry {name!r} in provenance.json beside it'
        )
    family, digest = record.get('family', ''), sha256[:8]
    return Protocol(f'{family} {name} {digest}'.lstrip(), family, name, digest)


def check_disjoint(streams: Mapping[str, Sequence[Images]]) -> None:
    """No image is labeled and unlabeled, or trained on and scored; val and test may coincide.

    Unlabeled images of the validation set are refused too: the network adapts to them. No data set
    has an image twice: it would count twice.

    Args:
        streams: ``'labeled'``, ``'unlabeled'``, ``'val'``, ``'test'``, those that the run has.

    Raises:
        ValueError: Names the streams, their lists, a common or repeated file and the remedy.
    """
    paths = {name: _real_paths(parts) for name, parts in streams.items()}
    for one, other in combinations(streams, 2):
        common = paths[one] & paths[other]
        if not common or (one in SCORED and other in SCORED):
            continue
        lists = ', '.join(
            f'{name}: {part.ann_file or part.folder}'
            for name in (one, other)
            for part in streams[name]
        )
        remedy = 'leave the labeled images out of unlabeled.ann_file, or set unlabeled.without'
        if other in SCORED:
            remedy = (
                'scores on images that training saw do not hold for others; remove them from one'
            )
        raise ValueError(
            f'images both {one} and {other}: {len(common)}, the first is {min(common)!r} '
            f'({lists}): {remedy}. tools/make_splits.py makes such lists'
        )


def _real_paths(parts: Sequence[Images]) -> set[str]:
    """Paths without links, NFC-normalized; each folder is looked up once."""
    real = cache(os.path.realpath)

    @cache
    def links(folder: str) -> set[str]:
        try:
            with os.scandir(folder or '.') as entries:
                return {entry.name for entry in entries if entry.is_symlink()}
        except OSError:  # whoever reads the images says so
            return set()

    found: set[str] = set()
    for part in parts:
        paths = [
            real(path) if name in links(folder) else os.path.join(real(folder), name)
            for path in part.paths
            for folder, name in [os.path.split(path)]
        ]
        if len(set(paths)) < len(paths):
            path, count = Counter(paths).most_common(1)[0]
            raise ValueError(
                f'{part.ann_file or part.folder}: the image {path!r} is there {count} times: remove the '
                'lines, or links to folders, that repeat images; to repeat a whole data set, '
                "dict(type='RepeatDataset', times=..., dataset=...)"
            )
        found.update(normalize('NFC', path) for path in paths)
    return found
