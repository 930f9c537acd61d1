"""Read sizes, lists and groups for :mod:`.splits`; write the lists and where they come from."""

import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.files import line_of, list_text, listed_images, numbered_lines, sha256_of, stem_of
from .index_masks import Masks
from .splits import Size


def parse_size(text: str) -> Size:
    """``'12'`` is a number of images; ``'1/16'`` and ``'0.0625'`` are the same ratio.

    Raises:
        ValueError: Anything else, the number 0, or a ratio outside (0, 1].
    """
    if re.fullmatch('0*[1-9][0-9]*', text):
        return int(text)
    if re.fullmatch(r'[0-9]+/0*[1-9][0-9]*|[0-9]*\.[0-9]+', text) and 0 < Fraction(text) <= 1:
        return Fraction(text)
    example = 'give a number of images such as 12, or a ratio in (0, 1] such as 1/16 or 0.0625'
    raise ValueError(f'size {text!r}: {example}')


def read_list(path: str | Path, folder: str | Path) -> list[str]:
    """Sorted stems of a list of images in a folder; errors as :func:`listed_images`."""
    return sorted(map(stem_of, listed_images(path, folder)))


def read_groups(source: str, stems: Sequence[str]) -> list[str]:
    """Group of each stem.

    ``source`` is a file with ``stem<TAB>group`` a line, of these or more stems; or a regular
    expression, searched in the stem, whose first group it is.

    Raises:
        ValueError: A stem has no group, or two; a bad line; a bad expression.
    """
    known: dict[str, str | None] = {}
    if Path(source).is_file():
        for number, line in numbered_lines(source):
            row = line.split('\t')
            if len(row) != 2 or known.setdefault(stem_of(row[0]), row[1]) != row[1]:
                why = 'is not stem<TAB>group, or gives a stem its second group'
                raise ValueError(f'{line_of(source, number)}{line!r} {why}')
    else:
        try:
            pattern = re.compile(source)
            if not pattern.groups:
                raise re.error('it has no (...)')
        except re.error as error:
            why = "no such file, and not a regular expression with a group as '^(.*)_'"
            raise ValueError(f'--groups {source!r}: {why}: {error}') from error
        known = {stem: match[1] for stem in stems if (match := pattern.search(stem))}
    for stem in stems:
        if known.get(stem) is None:
            raise ValueError(f'--groups {source!r}: the image {stem!r} gets no group from it')
    return [str(known[stem]) for stem in stems]


def summarize(
    stems: Mapping[str, Sequence[str]], masks: Masks | None, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Of each list ``images`` and ``sha256``; with masks also class shares and missing classes.

    ``stems`` are sorted, by name of list; ``classes`` the names of the C classes.
    """
    summary: dict[str, dict[str, Any]] = {}
    for name, part in stems.items():
        entry = summary[name] = dict(images=len(part), sha256=sha256_of(list_text(part)))
        if masks is None:
            continue
        counts = masks.counts[np.isin(masks.stems, part)].sum(0)
        shares = (counts / max(1, counts.sum())).round(6).tolist()
        gone = (counts == 0) & (masks.counts.sum(0) > 0)  # not what no mask has
        entry['class_share'] = dict(zip(classes, shares, strict=True))
        entry['classes_missing'] = [classes[index] for index in np.flatnonzero(gone).tolist()]
    return summary


def list_warnings(summary: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence for each list, but the unlabeled ones, that lacks classes which masks have."""
    return [
        f'{name}: no image has {", ".join(entry["classes_missing"])}'
        for name, entry in summary.items()
        if entry.get('classes_missing') and not name.endswith('unlabeled')
    ]


def list_files(
    folder: Path, stems: Mapping[str, Sequence[str]], provenance: Mapping[str, Any]
) -> dict[Path, bytes]:
    """Contents of ``<name>.txt`` for each list and of ``provenance.json``, by path."""
    contents = {folder / f'{name}.txt': list_text(part) for name, part in stems.items()}
    text = json.dumps(provenance, indent=1, sort_keys=True, ensure_ascii=False) + '\n'
    return {**contents, folder / 'provenance.json': text.encode()}


def write_lists(
    folder: Path,
    stems: Mapping[str, Sequence[str]],
    provenance: Mapping[str, Any],
    force: bool = False,
) -> bool:
    """Write lists and their record, in which those of earlier lists are; errors as :func:`write_files`.

    Returns:
        Whether a list changed.
    """
    contents = list_files(folder, stems, provenance)
    record = folder / 'provenance.json'
    text = contents.pop(record)
    changed = write_files(contents, force)
    write_files({record: text}, force=True)
    return changed


def write_files(contents: Mapping[Path, bytes], force: bool = False) -> bool:
    """Write files, all or none; returns whether anything changed.

    Raises:
        FileExistsError: A file has other content, and ``force`` is not given.
    """
    changed = [p for p, content in contents.items() if not p.is_file() or p.read_bytes() != content]
    for path in changed:
        if path.exists() and not force:
            raise FileExistsError(f'{str(path)!r} differs: choose another --out, or --force')
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[path])
    return bool(changed)
