"""Choose which images are labeled, unlabeled and held out: pure logic on names and counts.

The order of the input, the machine and the numpy release make no difference: names are sorted by
code point, PCG64's raw bits are used, and float arithmetic is done element by element.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

Size = int | Fraction  # a number of images, or a ratio
Counts = Mapping[str, np.ndarray]  # by stem pixels of each class, int64 (C,)


def resolve_size(size: Size, total: int) -> int:
    """Number of images: a ratio of ``total`` is rounded half up and gives at least 1."""
    return max(1, math.floor(size * total + Fraction(1, 2))) if isinstance(size, Fraction) else size


class _Picker:
    """Units (images or groups) in seeded order; the earlier wins a tie, without counts all tie."""

    def __init__(
        self, members: Mapping[str, list[str]], counts: Counts | None, seed: list[int]
    ) -> None:
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
            target = np.sum(list(counts.values()), axis=0)
            if not target.sum():
                raise ValueError('no mask holds a labeled pixel: nothing to stratify by, use plain')
            self.root = np.sqrt(target / target.sum())
        self.has = self.counts > 0
        self.pixels = self.counts.sum(0)  # (U,)
        self.chosen = np.zeros(len(self.root))  # pixels taken, (C,)

    def pick(self, allowed: np.ndarray, spare: bool) -> list[str]:
        """Take the best of the ``allowed`` units (U,).

        ``spare`` avoids the last free unit of a class, while there are others.
        """
        last = self.has[(self.has & self.free).sum(1) == 1].any(0) if spare else np.False_
        for wanted in (~last, self.pixels > 0):  # a mask of void alone teaches nothing
            if (allowed & wanted).any():
                allowed = allowed & wanted
        missing = (self.chosen == 0) & (self.root > 0)
        new = np.where(allowed, self.has[missing].sum(0), -1)
        allowed = new == new.max()
        affinity = np.zeros_like(self.pixels)  # Σ_c sqrt(p_c q_c) with each unit added
        for each, have, root in zip(self.counts, self.chosen, self.root, strict=True):
            affinity += np.sqrt(each + have) * root
        affinity /= np.sqrt(np.maximum(self.pixels + self.chosen.sum(), 1.0))
        index = int(np.where(allowed, affinity, -1.0).argmax())
        self.free[index] = False
        self.chosen += self.counts[:, index]
        return self.units[index]

    def nearer(self, missing: int, first: bool) -> np.ndarray:
        """Free units (U,) that reduce the number of ``missing`` images; none ends the choice."""
        fitting = self.free & (self.sizes <= missing)
        if fitting.any() or not self.free.any():
            return fitting
        least = self.sizes[self.free].min()
        return self.free & (self.sizes == least) & (first or least < 2 * missing)


def nested(
    stems: Sequence[str],
    sizes: Sequence[int],
    counts: Counts | None = None,
    groups: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
    hold_out: bool = False,
) -> list[list[str]]:
    """Sorted stems for each size, the smaller in the larger: the first images of one order.

    Without ``counts`` the order is a seeded permutation. With them each step takes, of the images
    with labeled pixels, one with the most classes that the chosen ones lack; of these the one with
    which the class pixel shares p are nearest to q, those of all ``counts``, by Hellinger distance,
    ``1 − Σ_c sqrt(p_c q_c)``; of equals the first by seeded permutation.

    Groups are taken whole: of those that fit into the smallest size not yet reached the best by this
    rule; when none fits, the smallest if it brings the number of images nearer or is the first.

    ``hold_out`` draws by other random bits and, stratified, leaves one image (group) of every class
    to learn from, while that is possible.

    Raises:
        ValueError: More images asked for than there are, or no labeled pixel in ``counts``.
    """
    if max(sizes) > len(stems):
        what = 'images that have a mask, not held out'
        raise ValueError(f'cannot choose {max(sizes)} of {len(stems)} {what}')
    if seed < 0:
        raise ValueError(f'seed must not be negative, got {seed}')
    members: dict[str, list[str]] = {}
    for stem in sorted(stems):
        members.setdefault(groups[stem] if groups else stem, []).append(stem)
    picker = _Picker(members, counts, [seed, int(hold_out)])
    taken: list[str] = []
    parts: dict[int, list[str]] = {}
    for size in sorted(set(sizes)):
        while (allowed := picker.nearer(size - len(taken), first=not taken)).any():
            taken += picker.pick(allowed, spare=hold_out)
        parts[size] = sorted(taken)
    return [parts[size] for size in sizes]


def make_lists(
    images: Sequence[str],
    masked: Sequence[str],
    labeled: Mapping[str, Size],
    holdout: Size | None = None,
    counts: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Sorted stems of ``<name>_labeled`` and ``<name>_unlabeled`` for each size, and ``holdout``.

    The hold-out is drawn first. No other list has images of its groups, which may be near
    duplicates. Unlabeled are all other images that are not labeled, with a mask or without.

    Args:
        images: All stems.
        masked: Those with a mask, N.
        labeled: Sizes by name; ratios are of images with a mask that are not held out.
        holdout: A ratio is of the images with a mask.
        counts: Pixels of each class in the masks, int64 (N, C); None: drawn at random.
        groups: Of all ``images``.
        seed: Another seed, another draw.

    Raises:
        ValueError: As :func:`nested`.
    """
    pixels = None if counts is None else dict(zip(masked, counts, strict=True))
    group = dict(zip(images, images if groups is None else groups, strict=True))
    pool, others = sorted(masked), sorted(set(images) - set(masked))
    how: dict[str, Any] = dict(counts=pixels, groups=group, seed=seed)
    lists: dict[str, list[str]] = {}
    if holdout is not None:
        size = resolve_size(holdout, len(pool))
        [lists['holdout']] = nested(pool, [size], hold_out=True, **how)
        closed = {group[stem] for stem in lists['holdout']}
        pool, others = ([s for s in part if group[s] not in closed] for part in (pool, others))
    sizes = [resolve_size(size, len(pool)) for size in labeled.values()]
    for name, part in zip(labeled, nested(pool, sizes, **how), strict=True):
        lists[f'{name}_labeled'] = part
        lists[f'{name}_unlabeled'] = sorted({*pool, *others} - set(part))
    return lists
