"""Draw the lists of a user's folder with the machinery of ``tools/make_splits.py``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ...datasets.files import sha256_of
from ...version import __version__
from ..index_masks import Masks, find_images
from ..split_files import list_warnings, parse_size, read_groups, read_list, summarize
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
    number = len(masks.stems)
    if number < LEAST_VAL + 1:
        raise ValueError(
            f'{number} masks are too few: {LEAST_VAL} validate and one more is labeled'
        )
    stems = list(images.paths)
    if unlabeled and Path(unlabeled).is_file():
        stems = sorted({*masks.stems, *read_list(unlabeled, images.paths)})
    names = read_groups(groups, stems) if groups else None
    if val and Path(val).is_file():
        lists = _with_list(read_list(val, images.paths), val, stems, masks, names)
        why = f'--val {val}'
    else:
        size = parse_size(val) if val else max(LEAST_VAL, resolve_size(Fraction(1, 5), number))
        if resolve_size(size, number) >= number:
            raise ValueError(f'--val {val} leaves none of the {number} masks to learn from')
        request = Request({'all': Fraction(1)}, holdout=size, method='stratified', seed=seed)
        lists = make_lists(stems, masks.stems, request, masks.counts, names)
        why = f'--val {val}' if val else f'a fifth of the masks, at least {LEAST_VAL}'
        why += f'; drawn by seed {seed}, class shares near those of all'
    keys = dict(labeled='all_labeled', unlabeled='all_unlabeled', val='holdout')
    parts = {name: lists[key] for name, key in keys.items()}
    reasons = dict(
        labeled=f'all other of the {number} images with a mask',
        unlabeled='named by --unlabeled' if unlabeled else 'no mask',
        val=why,
    )
    notes, root = [], Path(folder)
    if unlabeled and Path(unlabeled).is_dir():
        root = Path(unlabeled)
        parts['unlabeled'], left = _other_folder(root, images, masks, parts['val'], groups)
        why = 'copies of images with a mask' + (', or of a group to validate on' if groups else '')
        notes += [f'{left} images of {str(root)!r} are left out: {why}'] * bool(left)
    elif unlabeled and not Path(unlabeled).is_file():
        raise ValueError(f'--unlabeled {unlabeled!r}: no such folder or list (from {Path.cwd()})')

    drawn = {'all images': stems, **{key: parts[key] for key in ('labeled', 'val')}}
    summary = summarize(drawn, masks, classes)
    summary.update(summarize({'unlabeled': parts['unlabeled']}, None, classes))
    notes += list_warnings(summary)
    options = dict(val=val, unlabeled=unlabeled, groups=groups)
    provenance = dict(
        tool='make_config',
        version=__version__,
        options=dict(
            {name: _without_path(source) for name, source in options.items()},
            seed=seed, classes=list(classes), method='stratified',
        ),
        images=len(stems),
        images_that_may_be_labeled=number,
        groups=len(set(names)) if names else None,
        masks_sha256=masks.sha256,
        lists=summary,
        warnings=notes,
    )  # fmt: skip
    return OwnLists(parts, reasons, root, provenance, notes)


def add_test(lists: OwnLists, drawn: Images, images: Images, masks: Masks) -> OwnLists:
    """The lists with a test set of its own: all images of it that have a mask.

    Args:
        lists: Of ``drawn``, the images to train and validate on.
        drawn: All of them.
        images: Of the test set.
        masks: Of some of ``images``.
    """
    stems = dict(lists.stems, test=masks.stems)
    reasons = dict(lists.reasons, test='--test: all with a mask')
    tested = [images.paths[stem] for stem in masks.stems]
    copies = len(copies_of(drawn.paths.values(), tested))
    note = f'{copies} images to train or validate on are copies of test images: remove them'
    notes = [*lists.notes, *[note] * bool(copies)]
    summary = dict(lists.provenance['lists'], **summarize({'test': masks.stems}, None, ()))
    provenance = dict(lists.provenance, lists=summary, warnings=notes)
    return lists._replace(stems=stems, reasons=reasons, provenance=provenance, notes=notes)


def _with_list(
    chosen: list[str], source: str, stems: list[str], masks: Masks, groups: list[str] | None
) -> dict[str, list[str]]:
    """Every mask outside a list of images to validate on is labeled."""
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
    return {**lists, 'holdout': chosen}


def _other_folder(
    root: Path, images: Images, masks: Masks, val: list[str], groups: str | None
) -> tuple[list[str], int]:
    """Stems of another folder, without copies of images that have a mask; how many are left out."""
    paths = find_images(root)
    closed = set(read_groups(groups, val)) if groups else set()
    names = read_groups(groups, list(paths)) if groups else [''] * len(paths)
    copies = copies_of(paths.values(), [images.paths[stem] for stem in masks.stems])
    kept = [
        stem
        for (stem, path), group in zip(paths.items(), names, strict=True)
        if path not in copies and group not in closed
    ]
    return kept, len(paths) - len(kept)


def copies_of(paths: Iterable[Path], originals: Iterable[Path]) -> set[Path]:
    """Those of ``paths`` with the very bytes of one of ``originals``."""
    by_size: dict[int, set[str]] = defaultdict(set)
    for path in originals:
        by_size[path.stat().st_size].add(sha256_of(path.read_bytes()))
    return {
        path
        for path in paths
        if (same := by_size.get(path.stat().st_size)) and sha256_of(path.read_bytes()) in same
    }


def _without_path(source: str | None) -> Any:
    """An option for the provenance: files by name and hash, no path of this machine."""
    if source and Path(source).is_file():
        return dict(file=Path(source).name, sha256=sha256_of(Path(source).read_bytes()))
    return Path(source).name if source and Path(source).is_dir() else source
