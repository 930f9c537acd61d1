"""Read sizes, lists and groups for :mod:`.splits`; write the lists and where they come from."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.files import list_text, listed_images, sha256_of, stem_of
from .index_masks import Masks
from .splits import Lists, Size


def parse_size(text: str) -> Size:
    """``'12'`` is a number of images; ``'1/16'`` and ``'0.0625'`` are the same ratio.

    Raises:
        ValueError: Anything else, the number 0, or a ratio outside (0, 1].
    """
    if re.fullmatch('0*[1-9][0-9]*', text):
        return int(text)
    if re.fullmatch(r'[0-9]+/0*[1-9][0-9]*|[0-9]*\.[0-9]+', text) and 0 < Fraction(text) <= 1:
        return Fraction(text)
    raise ValueError(
        f'size {text!r}: give a number of images such as 12, or a ratio in (0, 1] such as 1/16 '
        'or 0.0625'
    )


def parse_sizes(texts: Sequence[str]) -> dict[str, Size]:
    """Sizes by their names in files: ``'1/16'`` → ``'1_16'``, others as they are written.

    Raises:
        ValueError: As :func:`parse_size`, or a size given twice.
    """
    if len(set(texts)) < len(texts):
        raise ValueError(f'sizes {", ".join(texts)}: one is given twice')
    return {text.replace('/', '_'): parse_size(text) for text in texts}


def read_list(path: str | Path, images: Mapping[str, Path]) -> list[str]:
    """Sorted stems of a list, one image a line, with or without suffix.

    Args:
        path: The list.
        images: Image files of one folder by stem, as ``find_images`` gives them.

    Raises:
        FileNotFoundError: No such list; it names an image that does not exist.
        ValueError: The list is empty or names an image twice.
    """
    first, file = next(iter(images.items()))
    names = {stem: [stem + path.suffix] for stem, path in images.items()}
    listed = listed_images(path, file.parents[first.count('/')], images=names)
    return sorted(map(stem_of, listed))


def read_groups(source: str, stems: Sequence[str]) -> list[str]:
    """Group of each stem.

    Args:
        source: A file with ``stem<TAB>group`` or ``stem,group`` a line, other stems do not
            matter; or a regular expression, searched in the stem, whose first group it is.
        stems: All images.

    Raises:
        ValueError: A stem has no group, or two; a bad line; a bad expression.
    """
    known: dict[str, str | None] = {}
    if Path(source).is_file():
        lines = Path(source).read_text(encoding='utf-8-sig').splitlines()  # as spreadsheets write
        delimiter = '\t' if any('\t' in line for line in lines) else ','
        for row in csv.reader(lines, delimiter=delimiter):
            if row and (len(row) != 2 or known.setdefault(stem_of(row[0]), row[1]) != row[1]):
                raise ValueError(
                    f'{source!r}: {delimiter.join(row)!r} is not a line of stem and group, or '
                    'gives a stem its second group'
                )
    else:
        try:
            pattern = re.compile(source)
            if not pattern.groups:
                raise re.error('it has no (...)')
        except re.error as error:
            raise ValueError(
                f'--groups {source!r}: no such file, and not a regular expression with a group as '
                f"'^(.*)_': {error}"
            ) from error
        known = {stem: match[1] for stem in stems if (match := pattern.search(stem))}
    groups = [known.get(stem) for stem in stems]
    if None in groups:
        stem = stems[groups.index(None)]
        raise ValueError(f'--groups {source!r}: the image {stem!r} gets no group from it')
    return [group for group in groups if group is not None]


def share_distance(counts: np.ndarray, target: np.ndarray) -> float:
    """Hellinger distance of class shares: ``sqrt(1 − Σ_c sqrt(p_c q_c))``, in [0, 1].

    Args:
        counts: Pixels of each class (C,); p are its shares. No pixels at all: distance 1.
        target: The same of the shares q.
    """
    if not counts.sum() or not target.sum():
        return 1.0
    roots = np.sqrt(counts / counts.sum()) * np.sqrt(target / target.sum())
    return math.sqrt(max(0.0, 1.0 - math.fsum(roots.tolist())))


def summarize(
    stems: Mapping[str, Sequence[str]], masks: Masks | None, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What is in each list: images, hash, and of those with masks class shares and coverage.

    Args:
        stems: Sorted stems by name of list.
        masks: None: no shares.
        classes: Names of the C classes.
    """
    summary: dict[str, dict[str, Any]] = {}
    row = {stem: index for index, stem in enumerate(masks.stems)} if masks else {}
    for name, part in stems.items():
        entry = summary[name] = dict(images=len(part), sha256=sha256_of(list_text(part)))
        if masks is None:
            continue
        rows = [row[stem] for stem in part if stem in row]
        counts, total = masks.counts[rows].sum(0), masks.counts.sum(0)
        shares = (counts / max(1, counts.sum())).round(6).tolist()
        missing = (total > 0) & (counts == 0)  # a label that is in no mask cannot be missed
        entry.update(
            images_with_mask=len(rows),
            class_share=dict(zip(classes, shares, strict=True)),
            classes_covered=f'{(counts > 0).sum()} of {(total > 0).sum()}',
            classes_missing=[name for name, gone in zip(classes, missing, strict=True) if gone],
            share_distance=round(share_distance(counts, total), 6),
        )
    return summary


def list_warnings(
    lists: Lists,
    summary: Mapping[str, Mapping[str, Any]],
    images: Mapping[str, Path],
    masks: Masks | None,
    classes: Sequence[str] | None,
) -> list[str]:
    """What the user should know, one sentence each. ``classes`` are the names the user gave."""
    found: list[str] = []
    if masks is not None and classes is not None:
        absent = [name for name, n in zip(classes, masks.counts.sum(0), strict=True) if n == 0]
        if absent:
            found.append(f'in no mask at all: {", ".join(absent)}')
    for name, entry in summary.items():
        missing = entry.get('classes_missing')
        if missing and not name.endswith('unlabeled'):
            found.append(f'{name}: no image has {", ".join(missing)}')
        if not entry['images']:
            found.append(f'{name} is empty')
        wanted = lists.asked.get(name, entry['images'])
        if abs(entry['images'] - wanted) > max(1, wanted / 10):
            found.append(
                f'{name}: {entry["images"]} images, {wanted} were asked for, as groups stay whole'
            )
    suffixes = sorted({path.suffix for path in images.values()})
    if len(suffixes) > 1:
        found.append(
            f'the images end in {", ".join(suffixes)}; lists name no suffix, and FolderDataset and '
            'UnlabeledDataset look it up, but other data sets add one, their img_suffix'
        )
    return found


def write_lists(
    out: str | Path,
    stems: Mapping[str, Sequence[str]],
    provenance: Mapping[str, Any],
    force: bool = False,
) -> bool:
    """Write ``<name>.txt`` for each list and ``provenance.json``; the same input, the same bytes.

    Returns:
        Whether anything changed.

    Raises:
        FileExistsError: As :func:`changed_files`; nothing is written then.
    """
    contents = {Path(out) / f'{name}.txt': list_text(part) for name, part in stems.items()}
    text = json.dumps(provenance, indent=1, sort_keys=True, ensure_ascii=False) + '\n'
    contents[Path(out) / 'provenance.json'] = text.encode()
    changed = changed_files(contents, force)
    Path(out).mkdir(parents=True, exist_ok=True)
    for path in changed:
        path.write_bytes(contents[path])
    return bool(changed)


def changed_files(contents: Mapping[Path, bytes], force: bool) -> list[Path]:
    """Which files do not exist yet with this content.

    Raises:
        FileExistsError: One has other content, without ``force``.
    """
    changed = [p for p, content in contents.items() if not p.is_file() or p.read_bytes() != content]
    for path in changed:
        if path.exists() and not force:
            remedy = 'choose another --out, or --force to overwrite it'
            raise FileExistsError(f'{str(path)!r} is there and differs: {remedy}')
    return changed
