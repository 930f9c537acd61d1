"""What lists of images are and where they come from; no image is in two of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from .folder import numbered_lines
from .mask_files import sha256_of
from .split_files import list_text

SCORED = ('val', 'test')


class Protocol(NamedTuple):
    """The images of a run, named alike on every machine.

    ``name`` is for people. ``family`` is what lists of one draw or publication share, empty where
    nothing tells. ``list_name`` is the list's own name, ``digest`` eight digits of its hash.
    """

    name: str
    family: str
    list_name: str
    digest: str


class Images(NamedTuple):
    """Image files, the list that names them (none: all of a folder), the image folder."""

    paths: Sequence[str]
    ann_file: str = ''
    folder: str = ''


def read_lines(path: str | Path) -> list[str]:
    """Lines of a list without spaces around them and blank lines; any line ends."""
    return [line for _, line in numbered_lines(path)]


def list_record(path: str | Path) -> dict[str, Any]:
    """What ``provenance.json`` beside a list says of it; empty where it says nothing.

    Returns:
        The list's entry, such as ``images``, ``sha256`` and ``class_share``; ``family`` where it
        was published, ``drawn`` as ``'make_splits stratified seed 0'`` where it was drawn.

    Raises:
        ValueError: The file is no such record.
    """
    file = Path(path).with_name('provenance.json')
    if not file.is_file():
        return {}
    try:
        whole = json.loads(file.read_text(encoding='utf-8'))
        record = dict(whole['lists'].get(Path(path).stem, {}))
        if record and 'family' not in record and 'options' in whole:
            options = whole['options']
            record['drawn'] = f'{whole["tool"]} {options["method"]} seed {options["seed"]}'
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'cannot read {str(file)!r} as a record of lists ({error!r}): restore it, make the '
            'lists anew, or delete it if you can do without knowing where they come from'
        ) from error
    return record


def check_provenance(path: str | Path) -> None:
    """A list that has a record is still what was recorded; line ends do not matter.

    Raises:
        ValueError: It was edited since, or as :func:`list_record`.
    """
    _verified(path)


def _verified(path: str | Path) -> tuple[dict[str, Any], str]:
    """Record and hash of a list; errors as :func:`check_provenance`."""
    record, sha256 = list_record(path), _sha256(read_lines(path))
    if record and record.get('sha256') != sha256:
        name = Path(path).stem
        raise ValueError(
            f'the list {str(path)!r} was edited after it was made: its hash is not the one in '
            f'provenance.json beside it. Restore it, run the tool that made it again with --force, '
            f'or, if the change is meant, delete the entry {name!r} there'
        )
    return record, sha256


def protocol_of(path: str | Path) -> Protocol:
    """What a list is.

    Returns:
        Named ``'u2pl 1_16'`` where it was published, ``'make_splits plain seed 0, 1_16 <digest>'``
        where it was drawn, and else, as far as is known, ``'1_16 <digest>'``.

    Raises:
        ValueError: As :func:`check_provenance`.
    """
    record, sha256 = _verified(path)
    name, digest = Path(path).stem, sha256[:8]
    if 'family' in record:
        return Protocol(f'{record["family"]} {name}', record['family'], name, digest)
    if 'drawn' in record:
        return Protocol(f'{record["drawn"]}, {name} {digest}', record['drawn'], name, digest)
    return Protocol(f'{name} {digest}', '', name, digest)


def protocol_of_parts(parts: Sequence[Images]) -> Protocol:
    """What the images of one or several data sets are together.

    A data set without list is ``'all of <folder> (<number> images) <digest>'``; one that takes a
    part of its list is named by what it takes. Where the folder lies does not matter.

    Raises:
        ValueError: As :func:`check_provenance`.
    """
    protocols = [_protocol_of_images(part) for part in parts]
    if len(protocols) == 1:
        return protocols[0]
    families = sorted({protocol.family for protocol in protocols})
    return Protocol(
        name=' + '.join(protocol.name for protocol in protocols),
        family=' + '.join(families) if all(families) else '',
        list_name=' + '.join(protocol.list_name for protocol in protocols),
        digest=_sha256([protocol.digest for protocol in protocols])[:8],
    )


def _protocol_of_images(images: Images) -> Protocol:
    paths, ann_file, folder = images
    if ann_file and len(read_lines(ann_file)) == len(paths):
        return protocol_of(ann_file)
    if ann_file:
        title = f'part of {Path(ann_file).stem}'
    else:
        title = f'all of {os.path.basename(os.path.abspath(folder))}'
    below = _change_folders(paths, lambda path: os.path.relpath(path or '.', folder or '.'))
    digest = _sha256(sorted(os.path.splitext(path)[0] for path in below))[:8]
    return Protocol(f'{title} ({len(paths)} images) {digest}', '', title, digest)


def same_family(one: Protocol, other: Protocol) -> bool:
    """Whether results of training on two lists may stand side by side.

    They may not if they are of different families, or of one name but with other images.
    Unknown families are not held against them.
    """
    if one.list_name == other.list_name and one.digest != other.digest:
        return False
    return one.family == other.family or not (one.family and other.family)


def same_scores(one: Protocol, other: Protocol) -> bool:
    """Whether scores on two lists may: those of the same images, or of folds of one draw."""
    folds = one.family != '' and one.family == other.family
    return one.digest == other.digest or (folds and same_family(one, other))


def check_disjoint(streams: Mapping[str, Sequence[Images]]) -> None:
    """No image is labeled and unlabeled, or trained on and scored; val and test may coincide.

    Unlabeled images of the validation set are refused too: a network that has seen them is
    scored on what it adapted to.

    Args:
        streams: ``'labeled'``, ``'unlabeled'``, ``'val'``, ``'test'``, as far as there are.

    Raises:
        ValueError: Names the streams, the first common file, its lines and the remedy.
    """
    paths = {
        name: [path for part in parts for path in part.paths] for name, parts in streams.items()
    }
    files = {name: _change_folders(own, os.path.realpath) for name, own in paths.items()}
    sets = {name: set(own) for name, own in files.items()}
    for one, other in combinations(streams, 2):
        if (one in SCORED and other in SCORED) or sets[one].isdisjoint(sets[other]):
            continue
        common = sets[one] & sets[other]
        first = next(file for file in files[one] if file in common)
        places = [
            _place(paths[name][files[name].index(first)], streams[name]) for name in (one, other)
        ]
        remedy = (
            'leave the labeled ones out of unlabeled.ann_file, or by unlabeled.without'
            if {one, other}.isdisjoint(SCORED)
            else 'scores on images that were trained on, be it without their masks, do not hold '
            'for others; take them out of one of the two'
        )
        raise ValueError(
            f'images both {one} and {other}: {len(common)}, the first is {first!r} ({one}: '
            f'{places[0]}, {other}: {places[1]}): {remedy}. tools/make_splits.py makes such lists'
        )


def _place(path: str, parts: Sequence[Images]) -> str:
    """The line that names an image: the longest that its path ends in, but for a suffix."""
    longest, place = '', 'all of its folder'
    for file in (part.ann_file for part in parts if part.ann_file):
        for number, line in numbered_lines(file):
            _, found, suffix = f'/{path}'.rpartition(f'/{line}')
            if found and '/' not in suffix and len(line) > len(longest):
                longest, place = line, f'{file!r} line {number}'
    return place


def _change_folders(paths: Sequence[str], change: Callable[[str], str]) -> list[str]:
    """Paths with other folders; each folder is looked up once, as there are many more files."""
    pairs = [os.path.split(path) for path in paths]
    folders = {folder: change(folder) for folder in {folder for folder, _ in pairs}}
    return [f'{folders[folder]}/{name}' for folder, name in pairs]


def _sha256(lines: Sequence[str]) -> str:
    return sha256_of(list_text(lines))
