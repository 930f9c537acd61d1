"""Draw the lists of a user's folder with the machinery of ``tools/make_splits.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ...version import __version__
from ..index_masks import Masks, find_images
from ..split_files import list_files, list_warnings, parse_size, read_groups, read_list, summarize
from ..splits import Request, make_lists, resolve_size
from .reading import Images

LEAST_VAL = 2


class OwnLists(NamedTuple):
    """Sorted stems of ``labeled``, ``unlabeled``, ``val`` and, if asked for, ``test``.

    ``reasons`` say why each has its images; ``unlabeled`` counts from ``unlabeled_folder``;
    ``provenance`` is what ``provenance.json`` says, ``notes`` what the user should know.
    """

    stems: dict[str, list[str]]
    reasons: dict[str, str]
    unlabeled_folder: Path
    provenance: dict[str, Any]
    notes: list[str]

    def files(self, folder: Path) -> dict[Path, bytes]:
        """Contents of the lists and of ``provenance.json``, by path."""
        return list_files(folder, self.stems, self.provenance)


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
    test: Masks | None = None,
) -> OwnLists:
    """Hold out a part of the masks, stratified by class; label with the rest.

    Args:
        folder: Of the images.
        images: All of them.
        masks: Of some of them.
        classes: Names.
        val: Number, ratio or list of the images to validate on; by default a fifth of the masks.
        unlabeled: Folder or list of the unlabeled images; by default all without a mask.
        groups: As in ``tools/make_splits.py``: images of a group stay on one side.
        seed: Of the draw.
        test: Masks of a test set in another folder.

    Raises:
        ValueError: Too few masks, or as the parsers of sizes, lists and groups.
    """
    number = len(masks.stems)
    if number < LEAST_VAL + 1:
        raise ValueError(f'{number} masks are too few: {LEAST_VAL} to validate, one to label')
    root, stems = Path(folder), list(images.paths)
    if unlabeled and Path(unlabeled).is_file():
        stems = sorted({*masks.stems, *read_list(unlabeled, images.paths)})
    elif unlabeled and not Path(unlabeled).is_dir():
        raise ValueError(f'--unlabeled {unlabeled!r}: no such folder or list (from {Path.cwd()})')
    names = read_groups(groups, stems) if groups else stems
    if val and Path(val).is_file():
        held, why = read_list(val, images.paths), f'--val {val}'
        if unmasked := sorted(set(held) - set(masks.stems)):
            raise ValueError(f'--val {val!r} names {unmasked[0]!r}, which has no mask')
    else:
        size = parse_size(val) if val else max(LEAST_VAL, resolve_size(Fraction(1, 5), number))
        asked = resolve_size(size, number)
        if asked >= number:
            raise ValueError(f'--val {val} leaves none of the {number} masks to learn from')
        request = Request({'all': Fraction(1)}, holdout=asked, method='stratified', seed=seed)
        drawn = make_lists(stems, masks.stems, request, masks.counts, names if groups else None)
        held = drawn['holdout']
        why = f'--val {val}' if val else f'a fifth of the masks, at least {LEAST_VAL}'
        why += f'; drawn by seed {seed}, class shares near those of all'
    group = dict(zip(stems, names, strict=True))
    closed = {group[stem] for stem in held}
    labeled = [stem for stem in masks.stems if group[stem] not in closed]
    if not labeled:
        raise ValueError(f'--val {val!r} leaves no mask to learn from: name fewer images')
    others: Iterable[str] = set(stems) - set(masks.stems)
    if unlabeled and Path(unlabeled).is_dir():
        root, paths = Path(unlabeled), find_images(unlabeled)
        masked = {images.paths[stem].resolve() for stem in masks.stems}
        others = [stem for stem, path in paths.items() if path.resolve() not in masked]
        group = dict(zip(others, read_groups(groups, others), strict=True)) if groups else {}
    parts = dict(
        labeled=labeled,
        unlabeled=sorted(stem for stem in others if group.get(stem) not in closed),
        val=held,
    )
    reasons = dict(
        labeled=f'all other of the {number} images with a mask',
        unlabeled='named by --unlabeled' if unlabeled else 'no mask',
        val=why,
    )
    summary = summarize({'all images': stems, 'labeled': labeled, 'val': held}, masks, classes)
    if test:
        parts['test'], reasons['test'] = test.stems, '--test: all with a mask'
    summary.update(summarize({k: parts[k] for k in parts if k not in summary}, None, classes))
    notes = list_warnings(summary)
    provenance = dict(
        tool='make_config',
        version=__version__,
        options=dict(
            val=val, unlabeled=unlabeled, groups=groups, seed=seed, classes=list(classes),
            method='stratified',
        ),
        masks_sha256=masks.sha256,
        lists=summary,
        warnings=notes,
    )  # fmt: skip
    return OwnLists(parts, reasons, root, provenance, notes)
