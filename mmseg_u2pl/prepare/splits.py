"""Choose which images are labeled, unlabeled and held out: pure logic on names and counts.

Every function is deterministic: it sorts the names by code point, draws from numpy's PCG64 bit
stream (which numpy keeps stable over releases) and does float arithmetic only element by
element, so the order of the input, the machine and the operating system make no difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np

Size = int | Fraction  # a number of images, or a ratio
Counts = Mapping[str, np.ndarray]  # by stem pixels of each class, int64 (C,)

_LABELED, _HOLD_OUT, _FOLDS = range(3)  # each has a separate bit stream


def resolve_size(size: Size, total: int) -> int:
    """Number of images: a ratio of ``total`` is rounded half up and gives at least 1."""
    return max(1, math.floor(size * total + Fraction(1, 2))) if isinstance(size, Fraction) else size


class _Picker:
    """Images or groups, in seeded random order; picks the one that makes shares most alike.

    Alike are the class shares of what is chosen and of the target (C,). The earlier unit wins a
    tie. Without counts all tie.
    """

    def __init__(
        self,
        stems: Sequence[str],
        counts: Counts | None,
        groups: Mapping[str, str] | None,
        seed: list[int],
        target: np.ndarray | None = None,
    ) -> None:
        if min(seed) < 0:
            raise ValueError(f'seed must not be negative, got {seed[0]}')
        members: dict[str, list[str]] = {}
        for stem in sorted(stems):
            members.setdefault(groups[stem] if groups else stem, []).append(stem)
        units = [unit for _, unit in sorted(members.items())]
        # raw bits sorted: unlike Generator.permutation, no other numpy may order them differently
        order = np.argsort(np.random.PCG64(seed).random_raw(len(units)), kind='stable')
        self.units = [units[i] for i in order]  # U
        self.sizes = np.array([len(unit) for unit in self.units])  # (U,)
        self.free = np.ones(len(units), dtype=bool)
        # (C, U), classes in rows: sums over classes then have one order on every machine
        self.counts = np.zeros((0, len(units)))
        self.root = np.zeros(0)  # sqrt(q_c), (C,)
        if counts is not None:
            pixels = [sum(counts[stem] for stem in unit) for unit in self.units]
            self.counts = np.stack(pixels, axis=1).astype(np.float64)
            target = self.counts.sum(1) if target is None else target
            if not target.sum():
                raise ValueError('no mask holds a labeled pixel: nothing to stratify by, use plain')
            self.root = np.sqrt(target / target.sum())
        self.has = self.counts > 0
        self.pixels = self.counts.sum(0)  # (U,)

    def pick(self, allowed: np.ndarray, chosen: np.ndarray, spare: bool = False) -> list[str]:
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
        affinity = np.zeros_like(self.pixels)  # Σ_c sqrt(p_c q_c) with each unit added
        for each, have, root in zip(self.counts, chosen, self.root, strict=True):
            if root > 0:
                affinity += np.sqrt(each + have) * root
        affinity /= np.sqrt(np.maximum(self.pixels + chosen.sum(), 1.0))
        index = int(np.where(allowed, affinity, -1.0).argmax())
        self.free[index] = False
        chosen += self.counts[:, index]
        return self.units[index]

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
    counts: Counts | None = None,
    groups: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    target: np.ndarray | None = None,
    hold_out: bool = False,
) -> list[list[str]]:
    """Labeled subsets, the smaller in the larger: the first images of one order.

    Without ``counts`` the order is a seeded permutation. With them it is stratified: each step
    takes

    1. an image with labeled pixels, if there is one left,
    2. of these, one with the most classes that the chosen ones lack,
    3. of these, the one with which the chosen ones' class pixel shares p are nearest to the
       target's q: smallest Hellinger distance, ``1 − Σ_c sqrt(p_c q_c)``, which minds an error
       in a rare class more than squared error does,
    4. of equals, the first by seeded permutation.

    With groups, whole groups are taken: of those that fit into the smallest size not yet reached,
    by the rule above; when none fits, the smallest if it brings the number of images nearer (or is
    the first). A list may then depend on the smaller sizes asked for with it.

    Args:
        stems: Images that may be labeled, in any order.
        sizes: Numbers of images.
        counts: Pixels of each class in each image.
        groups: Group of each image.
        seed: Not negative.
        target: Pixels of each class (C,) whose shares to match; by default those of ``stems``.
        hold_out: Draw images to choose settings on, by other random bits. Stratified, that
            leaves one image (group) of every class to learn from, while it can.

    Returns:
        Sorted stems for each size.

    Raises:
        ValueError: More images asked for than there are, or no labeled pixel in ``counts``.
    """
    if not sizes or max(sizes) > len(stems) or min(sizes) < 1:
        raise ValueError(
            f'cannot choose {", ".join(map(str, sizes)) or "no"} of {len(stems)} images that have '
            'a mask (and are not held out): ask for fewer, at least 1'
        )
    picker = _Picker(stems, counts, groups, [seed, _HOLD_OUT if hold_out else _LABELED], target)
    chosen = np.zeros(len(picker.root))
    taken: list[str] = []
    parts: dict[int, list[str]] = {}
    for size in sorted(set(sizes)):
        while (allowed := picker.nearer(len(taken), size)).any():
            taken += picker.pick(allowed, chosen, spare=hold_out)
        parts[size] = sorted(taken)
    return [parts[size] for size in sizes]


def folds(
    stems: Sequence[str],
    number: int,
    counts: Counts | None = None,
    groups: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
) -> list[list[str]]:
    """A partition into folds; the smallest fold (of equals the first) takes the next image.

    It picks by the rule of :func:`nested`, so without counts it deals out a seeded permutation.
    Sizes differ by one image at most. Of groups the large go first, to leave small ones to balance
    with: those of 2^k images and more before smaller ones; sizes differ by the largest at most.

    Returns:
        Sorted stems of each fold.

    Raises:
        ValueError: Fewer than two folds, fewer images (groups) than folds, or as :func:`nested`.
    """
    num_units = len({groups[stem] for stem in stems} if groups else stems)
    if not 2 <= number <= num_units:
        raise ValueError(
            f'--folds {number}: there are {num_units} images or groups with masks to share out, so '
            'give 2 or more folds, and no more than these'
        )
    picker = _Picker(stems, counts, groups, [seed, _FOLDS])
    parts: list[list[str]] = [[] for _ in range(number)]
    chosen = np.zeros((number, len(picker.root)))
    ranks = np.array([int(size).bit_length() for size in picker.sizes])
    while picker.free.any():
        fold = min(range(number), key=lambda k: len(parts[k]))
        large = picker.free & (ranks == ranks[picker.free].max())
        parts[fold] += picker.pick(large, chosen[fold])
    return [sorted(part) for part in parts]


@dataclass(frozen=True)
class Request:
    """What to make."""

    labeled: dict[str, Size]  # by name of list; ratios of images with a mask that are not held out
    holdout: Size | None = None  # ratio of the images with a mask
    folds: int | None = None  # instead of labeled lists
    method: Literal['plain', 'stratified'] = 'plain'
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
        counts: Pixels of each class, int64 (N, C); ``'stratified'`` needs it.
        groups: Group of each of ``images``.

    Returns:
        ``holdout`` if asked for, and ``<name>_labeled`` and ``<name>_unlabeled`` a size or
        ``fold<k>_labeled`` and ``fold<k>_val`` a fold; ``fold<k>_unlabeled``, images without a
        mask that are of no group in ``fold<k>_val``, where there are any.

    Raises:
        ValueError: ``'stratified'`` without counts, or as :func:`nested` and :func:`folds`.
    """
    pixels: Counts | None = None
    if request.method == 'stratified':
        if counts is None:
            raise ValueError("method 'stratified' needs masks; without them use 'plain'")
        pixels = dict(zip(masked, counts, strict=True))
    group = dict(zip(images, images if groups is None else groups, strict=True))
    pool, others = sorted(masked), sorted(set(images) - set(masked))
    how: dict[str, Any] = dict(counts=pixels, groups=group, seed=request.seed)
    lists: dict[str, list[str]] = {}
    asked: dict[str, int] = {}
    if request.holdout is not None:
        size = asked['holdout'] = resolve_size(request.holdout, len(pool))
        [lists['holdout']] = nested(pool, [size], hold_out=True, **how)
        closed = {group[stem] for stem in lists['holdout']}
        pool, others = ([s for s in part if group[s] not in closed] for part in (pool, others))
    if request.folds is not None:
        for k, part in enumerate(folds(pool, request.folds, **how)):
            closed = {group[stem] for stem in part}
            lists[f'fold{k}_labeled'] = [stem for stem in pool if group[stem] not in closed]
            lists[f'fold{k}_val'] = part
            if others:
                lists[f'fold{k}_unlabeled'] = [s for s in others if group[s] not in closed]
        return Lists(lists, asked)
    sizes = [resolve_size(size, len(pool)) for size in request.labeled.values()]
    target = None if counts is None else counts.sum(0)
    parts = nested(pool, sizes, target=target, **how)
    for name, size, part in zip(request.labeled, sizes, parts, strict=True):
        asked[f'{name}_labeled'] = size
        lists[f'{name}_labeled'] = part
        lists[f'{name}_unlabeled'] = sorted({*pool, *others} - set(part))
    return Lists(lists, asked)
