"""Choose which images are labeled, unlabeled and held out: pure logic on names and counts.

Every function is deterministic: it sorts the names by code point, draws from numpy's PCG64 bit
stream (which numpy keeps stable over releases) and does float arithmetic only element by
element, so the order of the input, the machine and the operating system make no difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np

Method = Literal['plain', 'stratified']
Size = int | Fraction  # a number of images, or a ratio

_LABELED, _HOLD_OUT, _FOLDS = range(3)  # each has a separate bit stream


def resolve_size(size: Size, total: int) -> int:
    """Number of images: a ratio of ``total`` is rounded half up and gives at least 1."""
    return max(1, math.floor(size * total + Fraction(1, 2))) if isinstance(size, Fraction) else size


class _Unit(NamedTuple):
    """What is drawn as a whole."""

    stems: list[str]
    counts: np.ndarray | None  # (C,)


def _units(
    stems: Sequence[str], counts: np.ndarray | None, groups: Sequence[str] | None, seed: list[int]
) -> list[_Unit]:
    """Images or groups in seeded random order."""
    if min(seed) < 0:
        raise ValueError(f'seed must not be negative, got {seed[0]}')
    members: dict[str, list[int]] = {}
    for index in sorted(range(len(stems)), key=lambda i: stems[i]):
        members.setdefault(stems[index] if groups is None else groups[index], []).append(index)
    units = [
        _Unit([stems[i] for i in rows], None if counts is None else counts[rows].sum(0))
        for _, rows in sorted(members.items())
    ]
    # raw bits sorted: unlike Generator.permutation, no other numpy may order them differently
    keys = np.random.PCG64(seed).random_raw(len(units))
    return [units[i] for i in np.argsort(keys, kind='stable')]


class _Picker:
    """Picks unit by unit the one that makes class shares most like the target's (C,).

    The earlier unit wins a tie. ``'plain'`` looks at no class, so all tie.

    Raises:
        ValueError: ``'stratified'`` without counts, or without any labeled pixel.
    """

    def __init__(self, units: list[_Unit], method: Method, target: np.ndarray | None) -> None:
        self.sizes = np.array([len(unit.stems) for unit in units])  # (U,)
        self.free = np.ones(len(units), dtype=bool)
        # (C, U), classes in rows: sums over classes then have one order on every machine
        self.counts = np.zeros((0, len(units)))
        self.root = np.zeros(0)  # sqrt(q_c), (C,)
        if method == 'stratified':
            rows = [unit.counts for unit in units if unit.counts is not None]
            if target is None or len(rows) < len(units):
                raise ValueError("method 'stratified' needs masks; without them use 'plain'")
            if not target.sum():
                raise ValueError('no mask holds a labeled pixel: nothing to stratify by, use plain')
            self.counts = np.stack(rows, axis=1).astype(np.float64)
            self.root = np.sqrt(target / target.sum())
        self.has = self.counts > 0
        self.pixels = self.counts.sum(0)  # (U,)

    def pick(self, allowed: np.ndarray, chosen: np.ndarray, spare: bool = False) -> int:
        """Take the best of the ``allowed`` free units (U,) and add its pixels to ``chosen`` (C,).

        ``spare`` avoids the last free unit of a class, while there are others.
        """
        last = self.has[(self.has & self.free).sum(1) == 1].any(0) if spare else np.False_
        for wanted in (~last, self.pixels > 0):  # a mask of void alone teaches nothing
            if (allowed & wanted).any():
                allowed = allowed & wanted
        missing = (chosen == 0) & (self.root > 0)
        if missing.any():
            new = np.where(allowed, self.has[missing].sum(0), -1)
            allowed = new == new.max()
        index = int(np.where(allowed, self._affinity(chosen), -1.0).argmax())
        self.free[index] = False
        chosen += self.counts[:, index]
        return index

    def _affinity(self, chosen: np.ndarray) -> np.ndarray:
        """``Σ_c sqrt(p_c q_c)`` of the set with each unit added, (U,)."""
        scores = np.zeros_like(self.pixels)
        for each, have, root in zip(self.counts, chosen, self.root, strict=True):
            if root > 0:
                scores += np.sqrt(each + have) * root
        return scores / np.sqrt(np.maximum(self.pixels + chosen.sum(), 1.0))

    def nearer(self, number: int, size: int) -> np.ndarray:
        """Free units (U,) to bring ``number`` images nearer to ``size``; none ends the choice."""
        fitting = self.free & (self.sizes <= size - number)
        if fitting.any() or not self.free.any():
            return fitting
        least = self.sizes[self.free].min()
        useful = number == 0 or least < 2 * (size - number)
        return self.free & (self.sizes == least) & useful


def nested(
    stems: Sequence[str],
    sizes: Sequence[int],
    counts: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
    *,
    method: Method = 'plain',
    seed: int = 0,
    target: np.ndarray | None = None,
    hold_out: bool = False,
) -> list[list[str]]:
    """Labeled subsets, the smaller in the larger: the first images of one order.

    ``plain`` orders by seeded permutation. ``stratified`` orders greedily; at each step it takes

    1. an image with labeled pixels, if there is one left,
    2. of these, one with the most classes that the chosen ones lack,
    3. of these, the one with which the chosen ones' class pixel shares p are nearest to the
       target's q: smallest Hellinger distance, ``1 − Σ_c sqrt(p_c q_c)``, which minds an error
       in a rare class more than squared error does,
    4. of equals, the first by seeded permutation.

    N images of C classes cost O(N C) a step, and no more steps than the largest size.

    With groups, whole groups are taken: of those that fit into the smallest size not yet reached,
    by the rule above; when none fits, the smallest if it brings the number of images nearer (or is
    the first). A list may then depend on the smaller sizes asked for with it.

    Args:
        stems: Images that may be labeled, N, in any order.
        sizes: Numbers of images.
        counts: Pixels of each class, int64 (N, C); ``stratified`` needs it.
        groups: Group of each stem.
        method: ``'plain'`` or ``'stratified'``.
        seed: Not negative.
        target: Pixels of each class (C,) whose shares to match; by default those of ``stems``.
        hold_out: Draw images to choose settings on, by other random bits. ``stratified`` then
            leaves one image (group) of every class to learn from, while it can.

    Returns:
        Sorted stems for each size.

    Raises:
        ValueError: More images asked for than there are, or ``stratified`` without counts.
    """
    if not sizes or max(sizes) > len(stems) or min(sizes) < 1:
        raise ValueError(
            f'cannot choose {", ".join(map(str, sizes)) or "no"} of {len(stems)} images that have '
            'a mask (and are not held out): ask for fewer, at least 1'
        )
    if target is None and counts is not None:
        target = counts.sum(0)
    units = _units(stems, counts, groups, [seed, _HOLD_OUT if hold_out else _LABELED])
    picker = _Picker(units, method, target)
    chosen = np.zeros(len(picker.root))
    taken: list[str] = []
    parts: dict[int, list[str]] = {}
    for size in sorted(set(sizes)):
        while (allowed := picker.nearer(len(taken), size)).any():
            taken += units[picker.pick(allowed, chosen, spare=hold_out)].stems
        parts[size] = sorted(taken)
    return [parts[size] for size in sizes]


def folds(
    stems: Sequence[str],
    number: int,
    counts: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
    *,
    method: Method = 'plain',
    seed: int = 0,
) -> list[list[str]]:
    """A partition into folds; the smallest fold (of equals the first) takes the next image.

    It picks by the rule of :func:`nested`, so ``plain`` deals out a seeded permutation. Sizes
    differ by one image at most. Of groups the large go first, to leave small ones to balance with:
    those of 2^k images and more before smaller ones; sizes differ by the largest at most.

    Returns:
        Sorted stems of each fold.

    Raises:
        ValueError: Fewer than two folds, fewer images (groups) than folds, or ``stratified``
            without counts.
    """
    units = _units(stems, counts, groups, [seed, _FOLDS])
    if not 2 <= number <= len(units):
        raise ValueError(
            f'--folds {number}: there are {len(units)} images or groups with masks to share out, '
            'so give 2 or more folds, and no more than these'
        )
    parts: list[list[str]] = [[] for _ in range(number)]
    target = None if counts is None else counts.sum(0)
    picker = _Picker(units, method, target)
    chosen = np.zeros((number, len(picker.root)))
    ranks = np.array([len(unit.stems).bit_length() for unit in units])
    for _ in units:
        fold = min(range(number), key=lambda k: len(parts[k]))
        large = picker.free & (ranks == ranks[picker.free].max())
        parts[fold] += units[picker.pick(large, chosen[fold])].stems
    return [sorted(part) for part in parts]


@dataclass(frozen=True)
class Request:
    """What to make."""

    labeled: dict[str, Size]  # by name of list; ratios of images with a mask that are not held out
    holdout: Size | None = None  # ratio of the images with a mask
    folds: int | None = None  # instead of labeled lists
    method: Method = 'plain'
    seed: int = 0


class Lists(NamedTuple):
    """Sorted stems by name of list, and how many were asked for where that was said."""

    stems: dict[str, list[str]]
    asked: dict[str, int]


def make_lists(
    images: Sequence[str],
    masked: Sequence[str],
    request: Request,
    counts: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
) -> Lists:
    """All lists of a request.

    The hold-out is drawn first and is in no other list; nor are its groups' images without a
    mask, which may be near duplicates of it. Unlabeled are all other images that are not
    labeled, with a mask or without: also those without one in a labeled group, as training sees
    both lists.

    Args:
        images: All stems.
        masked: Those with a mask, N.
        request: What to make.
        counts: Pixels of each class, int64 (N, C).
        groups: Group of each of ``images``.

    Returns:
        ``holdout`` if asked for, and ``<name>_labeled`` and ``<name>_unlabeled`` a size or
        ``fold<k>_labeled`` and ``fold<k>_val`` a fold; ``fold<k>_unlabeled``, images without a
        mask that are of no group in ``fold<k>_val``, where there are any.

    Raises:
        ValueError: As :func:`nested` and :func:`folds`.
    """
    group = dict(zip(images, images if groups is None else groups, strict=True))
    row = {stem: index for index, stem in enumerate(masked)}

    def table(stems: list[str]) -> tuple[np.ndarray | None, list[str]]:
        rows = [row[stem] for stem in stems]
        return None if counts is None else counts[rows], [group[stem] for stem in stems]

    lists: dict[str, list[str]] = {}
    asked: dict[str, int] = {}
    pool, others = sorted(masked), sorted(stem for stem in images if stem not in row)
    how: dict[str, Any] = dict(method=request.method, seed=request.seed)
    if request.holdout is not None:
        asked['holdout'] = resolve_size(request.holdout, len(pool))
        sizes = [asked['holdout']]
        lists['holdout'] = nested(pool, sizes, *table(pool), hold_out=True, **how)[0]
        closed = {group[stem] for stem in lists['holdout']}
        pool, others = ([s for s in part if group[s] not in closed] for part in (pool, others))
    if request.folds is not None:
        for k, part in enumerate(folds(pool, request.folds, *table(pool), **how)):
            closed = {group[stem] for stem in part}
            lists[f'fold{k}_labeled'] = [stem for stem in pool if group[stem] not in closed]
            lists[f'fold{k}_val'] = part
            if others:
                lists[f'fold{k}_unlabeled'] = [s for s in others if group[s] not in closed]
        return Lists(lists, asked)
    sizes = [resolve_size(size, len(pool)) for size in request.labeled.values()]
    target = None if counts is None else counts.sum(0)
    parts = nested(pool, sizes, *table(pool), target=target, **how)
    for name, size, part in zip(request.labeled, sizes, parts, strict=True):
        chosen = set(part)
        asked[f'{name}_labeled'] = size
        lists[f'{name}_labeled'] = part
        lists[f'{name}_unlabeled'] = sorted(s for s in (*pool, *others) if s not in chosen)
    return Lists(lists, asked)
