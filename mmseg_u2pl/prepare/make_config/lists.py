"""Draw the lists of a user's folder with the machinery of ``tools/make_splits.py``."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ..prepare.index_masks import Masks, find_images
from ..prepare.split_files import (
    list_warnings,
    parse_size,
    read_groups,
    read_list,
    summarize,
)
from ..prepare.splits import Lists, Request, Size, make_lists, resolve_size
from ..version import __version__
from .reading import Images

DEFAULT_VAL = Fraction(1, 5)  # of the masks
LEAST_VAL = 2


class OwnLists(NamedTuple):
    """Sorted stems of ``labeled``, ``unlabeled`` and ``val``.

    ``reasons`` say why each has its images; ``unlabeled`` counts from ``unlabeled_folder``;
    ``provenance`` is what ``provenance.json`` says, ``notes`` what the user should know.
    """

    stems: dict[str, list[str]]
    reasons: dict[str, str]
    unlabeled_folder: Path
    provenance: dict[str, Any]
    notes: list[str]


def draw_lists(
    folder: str | Path,
    images: Images,
    masks: Masks,
    classes: Sequence[str],
    *,
    val: str | None = None,
    unlabeled: str | None = None,
    groups: str | None = None,
    seed: int = 0,
) -> OwnLists:
    """Hold out a part of the masks, stratified by class; label with the rest.

    Args:
        folder: Of the images.
        images: What is in it.
        masks: Of some of them.
        classes: Their names.
        val: Number, ratio or list of the images to validate on; by default a fifth of the masks,
            at least two.
        unlabeled: Folder or list of the unlabeled images; by default all without a mask.
        groups: As in ``tools/make_splits.py``: images of a group stay on one side.
        seed: Another seed, another draw.

    Raises:
        ValueError: Too few masks, or as the parsers of sizes, lists and groups.
    """
    if len(masks.stems) < LEAST_VAL + 1:
        raise ValueError(
            f'{len(masks.stems)} masks are too few: {LEAST_VAL} validate and one more is labeled'
        )
    stems = list(images.paths)
    if unlabeled and Path(unlabeled).is_file():
        stems = sorted({*masks.stems, *read_list(unlabeled, images.paths)})
    names = read_groups(groups, stems) if groups else None
    if val and Path(val).is_file():
        lists = _with_list(read_list(val, images.paths), val, stems, masks, names)
    else:
        size: Size = parse_size(val) if val else _default_size(len(masks.stems))
        if resolve_size(size, len(masks.stems)) >= len(masks.stems):
            raise ValueError(
                f'--val {val} leaves none of the {len(masks.stems)} masks to learn from'
            )
        request = Request({'all': Fraction(1)}, holdout=size, method='stratified', seed=seed)
        lists = make_lists(stems, masks.stems, request, masks.counts, names)
    parts = {
        name: lists.stems[key]
        for name, key in (('labeled', 'all_labeled'), ('unlabeled', 'all_unlabeled'))
    }
    parts['val'] = lists.stems['holdout']
    asked = dict(val=lists.asked['holdout'])
    reasons = dict(
        labeled=f'all other of the {len(masks.stems)} images with a mask',
        unlabeled='named by --unlabeled' if unlabeled else 'no mask',
        val=f'--val {val}' if val else f'a fifth of the masks, at least {LEAST_VAL}',
    )
    if not (val and Path(val).is_file()):
        reasons['val'] += f'; drawn by seed {seed}, class shares near those of all'
    notes = []
    root = Path(folder)
    if unlabeled and Path(unlabeled).is_dir():
        root = Path(unlabeled)
        parts['unlabeled'], note = _other_folder(root, images, masks, parts['val'], groups)
        notes += [note] if note else []
    elif unlabeled and not Path(unlabeled).is_file():
        raise ValueError(f'--unlabeled {unlabeled!r}: no such folder or list (from {Path.cwd()})')

    drawn = {'all images': stems, **{key: parts[key] for key in ('labeled', 'val')}}
    summary = summarize(drawn, masks, classes)
    summary.update(summarize({'unlabeled': parts['unlabeled']}, None, classes))
    # a suffix a line is looked up, so the lists may be of mixed suffixes
    notes += list_warnings(Lists(parts, asked), summary, {}, masks, classes)
    provenance = dict(
        tool='make_config',
        version=__version__,
        options=dict(
            val=_told(val), unlabeled=_told(unlabeled), groups=_told(groups), seed=seed,
            classes=list(classes), method='stratified',
        ),
        images=len(stems),
        images_that_may_be_labeled=len(masks.stems),
        groups=len(set(names)) if names else None,
        masks_sha256=masks.sha256,
        lists=summary,
        asked=asked,
        warnings=notes,
    )  # fmt: skip
    return OwnLists(parts, reasons, root, provenance, notes)


def _default_size(number: int) -> int:
    return max(LEAST_VAL, resolve_size(DEFAULT_VAL, number))


def _with_list(
    chosen: list[str], source: str, stems: list[str], masks: Masks, groups: list[str] | None
) -> Lists:
    """All masks outside the user's own list are labeled."""
    unmasked = sorted(set(chosen) - set(masks.stems))
    if unmasked:
        raise ValueError(f'--val {source!r} names {unmasked[0]!r}, which has no mask')
    group = dict(zip(stems, groups or stems, strict=True))
    closed = {group[stem] for stem in chosen}
    open_stems = [stem for stem in stems if group[stem] not in closed]
    masked = [stem for stem in masks.stems if group[stem] not in closed]
    if not masked:
        raise ValueError(f'--val {source!r} leaves no mask to learn from: name fewer images')
    lists = make_lists(open_stems, masked, Request({'all': Fraction(1)}))
    return Lists({**lists.stems, 'holdout': chosen}, {'holdout': len(chosen)})


def _other_folder(
    root: Path, images: Images, masks: Masks, val: list[str], groups: str | None
) -> tuple[list[str], str | None]:
    """Stems of a folder of its own, without copies of images that have a mask, and a note."""
    paths = find_images(root)
    closed = set(read_groups(groups, val)) if groups else set()
    own = read_groups(groups, list(paths)) if groups else [''] * len(paths)
    twins = _copies(paths.values(), [images.paths[stem] for stem in masks.stems])
    kept = [
        stem
        for (stem, path), group in zip(paths.items(), own, strict=True)
        if path not in twins and group not in closed
    ]
    left = len(paths) - len(kept)
    why = 'copies of images with a mask' + (', or of a group to validate on' if groups else '')
    return kept, f'{left} images of {str(root)!r} are left out: {why}' if left else None


def _copies(paths: Iterable[Path], originals: Iterable[Path]) -> set[Path]:
    """Those of ``paths`` with the very bytes of one of ``originals``."""
    by_size: dict[int, set[bytes]] = defaultdict(set)
    for path in originals:
        by_size[path.stat().st_size].add(_digest(path))
    return {p for p in paths if (s := p.stat().st_size) in by_size and _digest(p) in by_size[s]}


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _told(source: str | None) -> Any:
    """An option as the provenance states it: files by name and hash, no path of this machine."""
    if source and Path(source).is_file():
        return dict(file=Path(source).name, sha256=_digest(Path(source)).hex())
    return Path(source).name if source and Path(source).is_dir() else source
