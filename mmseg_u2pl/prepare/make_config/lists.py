"""Draw the lists of a user's folder with the machinery of ``tools/make_splits.py``."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ...version import __version__
from ..index_masks import Masks, find_images
from ..split_files import list_warnings, parse_size, read_groups, read_list, summarize
from ..splits import nested, resolve_size
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
    test: Masks | None = None,
    test_paths: Iterable[Path] = (),
) -> OwnLists:
    """Hold out a part of the masks, stratified by class; label with the rest.

    ``images`` are all of the ``folder``, ``masks`` those of some of them, ``test`` those of a test
    set, whose images, ``test_paths``, are not unlabeled ones. ``val``, ``unlabeled``, ``groups`` and ``seed`` are flags of
    ``tools/make_config.py``.

    Raises:
        ValueError: Too few masks, or as the parsers of sizes, lists and groups.
    """
    number = len(masks.stems)
    if number < LEAST_VAL + 1:
        raise ValueError(f'{number} masks are too few: {LEAST_VAL} to validate, one to label')
    root, stems = Path(folder), list(images.paths)
    if unlabeled and Path(unlabeled).is_file():
        stems = sorted({*masks.stems, *read_list(unlabeled, folder)})
    elif unlabeled and not Path(unlabeled).is_dir():
        raise ValueError(f'--unlabeled {unlabeled!r}: no such folder or list (from {Path.cwd()})')
    group = dict(zip(stems, read_groups(groups, stems) if groups else stems, strict=True))
    if val and Path(val).is_file():
        held, why = read_list(val, folder), f'--val {val}'
        if unmasked := sorted(set(held) - set(masks.stems)):
            raise ValueError(f'--val {val!r} names {unmasked[0]!r}, which has no mask')
    else:
        size = parse_size(val) if val else max(LEAST_VAL, resolve_size(Fraction(1, 5), number))
        counts = dict(zip(masks.stems, masks.counts, strict=True))
        sizes = [resolve_size(size, number)]
        [held] = nested(masks.stems, sizes, counts, group, seed=seed, hold_out=True)
        why = f'--val {val}' if val else f'a fifth of the masks, at least {LEAST_VAL}'
        why += f'; drawn by seed {seed}, class shares near those of all'
    closed = {group[stem] for stem in held}
    labeled = [stem for stem in masks.stems if group[stem] not in closed]
    if not labeled:
        cause = f'--val {val}' if val else 'validation'
        if groups:
            cause += f' with --groups {groups!r} ({len(set(group.values()))} groups)'
        raise ValueError(f'{cause} leaves none of the {number} masks to learn from')
    others: Iterable[str] = set(stems) - set(masks.stems)
    if unlabeled and Path(unlabeled).is_dir():
        root, paths = Path(unlabeled), find_images(unlabeled)
        masked = {images.paths[stem].resolve() for stem in masks.stems}
        others = [stem for stem, path in paths.items() if path.resolve() not in masked]
        group = dict(zip(others, read_groups(groups, others), strict=True)) if groups else {}
        places = paths
    else:
        places = images.paths
    tested = {path.resolve() for path in test_paths}
    trained = {images.paths[stem].resolve() for stem in masks.stems}
    if common := sorted(map(str, tested & trained)):
        raise ValueError(
            f'--test: {len(common)} images are also those to train on, such as {common[0]!r}: give others, or '
            'leave --test out'
        )
    rest = sorted(
        stem
        for stem in others
        if group.get(stem) not in closed and places[stem].resolve() not in tested
    )
    parts = dict(labeled=labeled, unlabeled=rest, val=held)
    reasons = dict(
        labeled=f'all other of the {number} images with a mask',
        unlabeled='named by --unlabeled' if unlabeled else 'no mask',
        val=why,
    )
    if test:
        parts['test'], reasons['test'] = test.stems, '--test: all with a mask'
    summary = summarize(parts, None, classes)
    summary |= summarize({'all images': stems, 'labeled': labeled, 'val': held}, masks, classes)
    notes = list_warnings(summary)
    if unseen := [
        name for name, pixels in zip(classes, masks.counts.sum(0), strict=True) if not pixels
    ]:
        notes.append(
            f'no mask has {", ".join(unseen)}: are --classes the names of 0, 1, ... in this order, and names '
            'with spaces in quotes?'
        )
    options = dict(val=val, unlabeled=unlabeled, groups=groups, seed=seed, classes=list(classes))
    provenance = dict(
        tool='make_config',
        version=__version__,
        options=dict(options, method='stratified'),
        masks_sha256=masks.sha256,
        lists=summary,
        warnings=notes,
    )
    return OwnLists(parts, reasons, root, provenance, notes)
