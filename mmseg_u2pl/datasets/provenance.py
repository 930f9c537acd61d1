"""What the lists of a run are, where they come from, and that they do not overlap."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np

from .files import list_text, numbered_lines, sha256_of, stem_of

SCORED = ('val', 'test')


class Protocol(NamedTuple):
    """The images of a run, named alike on every machine.

    ``name`` is for people. ``family`` is what lists of one draw or publication share, empty where
    nothing tells. ``list_name`` is the list's name, ``digest`` eight digits of the images' hash.
    """

    name: str
    family: str
    list_name: str
    digest: str


class Images(NamedTuple):
    """Image files of a data set.

    Attributes:
        paths: Of the files; any sequence, so that long lists need no memory.
        ann_file: The list that names them; empty: all of a folder.
        folder: The image folder.
        img_suffix: What the data set adds to a line; empty: the suffix of an image.
    """

    paths: Sequence[str]
    ann_file: str = ''
    folder: str = ''
    img_suffix: str = ''

    def lines(self) -> Iterator[str]:
        """Each image as a list names it: its path in the folder without suffix, NFC-normalized."""
        prefix = os.path.join(self.folder, '')
        for path in self.paths:
            inside = path.startswith(prefix) and '..' not in path
            name = path[len(prefix) :] if inside else os.path.relpath(path, self.folder or '.')
            if self.img_suffix and name.endswith(self.img_suffix):
                stem = normalize('NFC', name[: -len(self.img_suffix)])
            else:
                stem = stem_of(name)
            yield stem.replace(os.sep, '/')

    def sha256(self) -> str:
        """Hash of the lines, as of a list without suffixes; sorted if no list orders them."""
        digest = hashlib.sha256()
        for line in self.lines() if self.ann_file else sorted(self.lines()):
            digest.update(f'{line}\n'.encode())
        return digest.hexdigest()


def list_record(path: str | Path) -> dict[str, Any]:
    """What ``provenance.json`` beside a list says of it; empty where it says nothing.

    Returns:
        The list's entry, such as ``images``, ``sha256`` and ``class_share``; ``family`` where it
        was published or drawn, then as ``'make_splits stratified seed 0'`` with ``drawn`` True.

    Raises:
        ValueError: The file is not such a record.
    """
    file = Path(path or '/').parent / 'provenance.json'
    if not path or not file.is_file():
        return {}
    try:
        whole = json.loads(file.read_text(encoding='utf-8'))
        record = dict(whole['lists'].get(Path(path).stem, {}))
        if record and 'family' not in record and 'options' in whole:
            options = whole['options']
            family = f'{whole["tool"]} {options["method"]} seed {options["seed"]}'
            record.update(family=family, drawn=True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'cannot read {str(file)!r} as a record of lists ({error!r}): restore it, make the '
            'lists again, or delete it if you can do without knowing where they come from'
        ) from error
    return record


def protocol_of(parts: Sequence[Images]) -> Protocol:
    """What the images of one or several data sets are together; where they lie does not matter.

    Returns:
        Named ``'u2pl 1_16'`` where the list was published, ``'make_splits plain seed 0, 1_16
        <digest>'`` where it was drawn, and else, as far as is known, ``'1_16 <digest>'``. A data
        set without list is ``'all of <folder> (<number> images) <digest>'``.

    Raises:
        ValueError: A list that has a record was edited since, other line ends aside; or as
            :func:`list_record`.
    """
    protocols = [_protocol_of(part) for part in parts]
    if len(protocols) == 1:
        return protocols[0]
    families = sorted({protocol.family for protocol in protocols})
    return Protocol(
        name=' + '.join(protocol.name for protocol in protocols),
        family=' + '.join(families) if all(families) else '',
        list_name=' + '.join(protocol.list_name for protocol in protocols),
        digest=sha256_of(list_text(protocol.digest for protocol in protocols))[:8],
    )


def _protocol_of(images: Images) -> Protocol:
    path, sha256, record = images.ann_file, images.sha256(), list_record(images.ann_file)
    name, digest, count = Path(path).stem, sha256[:8], f'({len(images.paths)} images)'
    if not path:
        title = f'all of {os.path.basename(os.path.abspath(images.folder))}'
        return Protocol(f'{title} {count} {digest}', '', title, digest)
    if record and record.get('sha256') != sha256:  # other images, or an edited list
        lines = (stem_of(line) for _, line in numbered_lines(path))
        if record.get('sha256') != sha256_of(list_text(lines)):
            raise ValueError(
                f'the list {str(path)!r} was edited after it was made: its hash is not the one in '
                f'provenance.json beside it. Restore it, run the tool that made it again with '
                f'--force, or, if the change is meant, delete the entry {name!r} there'
            )
        return Protocol(f'part of {name} {count} {digest}', '', f'part of {name}', digest)
    family = record.get('family', '')
    if family and not record.get('drawn'):
        return Protocol(f'{family} {name}', family, name, digest)
    return Protocol(f'{family}, {name} {digest}'.removeprefix(', '), family, name, digest)


def check_provenance(images: Images) -> None:
    """A list that has a record is still what was recorded; errors as :func:`protocol_of`."""
    if list_record(images.ann_file):
        protocol_of([images])


def check_disjoint(streams: Mapping[str, Sequence[Images]]) -> None:
    """No image is labeled and unlabeled, or trained on and scored; val and test may coincide.

    Unlabeled images of the validation set are refused too: a network that has seen them is
    scored on what it adapted to. Files are compared by hash, 8 bytes an image; lists are read
    only to name the lines of a common one.

    Args:
        streams: ``'labeled'``, ``'unlabeled'``, ``'val'``, ``'test'``, those that the run has.

    Raises:
        ValueError: Names the streams, the first common file, its lines and the remedy.
    """
    hashes = {
        name: np.fromiter(map(hash, _real_paths(parts)), np.int64)
        for name, parts in streams.items()
    }
    for one, other in combinations(streams, 2):
        if one in SCORED and other in SCORED:
            continue
        alike = set(np.intersect1d(hashes[one], hashes[other]).tolist())
        if not alike:
            continue
        files = [
            [path for path in _real_paths(streams[name]) if hash(path) in alike]
            for name in (one, other)
        ]
        common = set(files[0]) & set(files[1])  # hashes may coincide by chance
        if not common:
            continue
        first = next(path for path in files[0] if path in common)
        places = ', '.join(f'{name}: {_place(first, streams[name])}' for name in (one, other))
        remedy = (
            'leave the labeled ones out of unlabeled.ann_file, or give unlabeled.without the masks'
            if {one, other}.isdisjoint(SCORED)
            else 'scores on images that were trained on, even without their masks, do not hold '
            'for others; take them out of one of the two'
        )
        raise ValueError(
            f'images both {one} and {other}: {len(common)}, the first is {first!r} ({places}): '
            f'{remedy}. tools/make_splits.py makes such lists'
        )


def _real_paths(parts: Sequence[Images]) -> Iterator[str]:
    """Paths without links, NFC-normalized; each folder is looked up once."""
    folders: dict[str, str] = {}
    for part in parts:
        for path in part.paths:
            folder, name = os.path.split(path)
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            yield normalize('NFC', f'{folders[folder]}/{name}')


def _place(path: str, parts: Sequence[Images]) -> str:
    """The line that names an image: the longest that its path ends in, but for a suffix."""
    longest, place = '', 'all of its folder'
    for file in (part.ann_file for part in parts if part.ann_file):
        for number, line in numbered_lines(file):
            _, found, suffix = f'/{path}'.rpartition(f'/{normalize("NFC", line)}')
            if found and '/' not in suffix and len(line) > len(longest):
                longest, place = line, f'{file!r} line {number}'
    return place
