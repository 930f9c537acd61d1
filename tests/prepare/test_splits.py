"""Choosing labeled, unlabeled and held-out images: properties of any input."""

import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_u2pl.prepare import splits
from mmseg_u2pl.prepare.splits import make_lists, resolve_size


def by_stem(stems, counts, groups, method):
    """What the functions take, of counts (N, C) and groups of N stems."""
    return dict(
        counts=dict(zip(stems, counts, strict=True)) if method == 'stratified' else None,
        groups=dict(zip(stems, groups, strict=True)) if groups else None,
    )


def nested(stems, sizes, counts=None, groups=None, *, method='plain', **how):
    return splits.nested(stems, sizes, **by_stem(stems, counts, groups, method), **how)


def hold_out(stems, size, *arguments, **how):
    return nested(stems, [size], *arguments, **how, hold_out=True)[0]


def share_distance(counts, target):
    """Hellinger distance of class shares, sqrt(1 − Σ_c sqrt(p_c q_c)); 1 without pixels."""
    if not counts.sum() or not target.sum():
        return 1.0
    return max(0.0, 1 - np.sqrt(counts / counts.sum() * target / target.sum()).sum()) ** 0.5


METHODS = st.sampled_from(['plain', 'stratified'])
SEEDS = st.integers(0, 2**70)
many = settings(max_examples=max(50, settings().max_examples))


def pixels(number, classes, seed):
    """Counts (N, C) as of street scenes: shares differ between images and classes; some are 0."""
    rng = np.random.default_rng(seed)
    typical = rng.lognormal(0, 1.2, classes)
    shares = rng.dirichlet(typical / typical.sum() * 4, number)
    return np.where(shares < 0.01, 0, shares * 10_000).astype(np.int64)


@st.composite
def pools(draw, grouped=None, max_size=30):
    """Stems, counts (N, C) and groups, or None instead of groups."""
    stems = draw(st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=max_size,
                          unique=True))  # fmt: skip
    counts = pixels(len(stems), draw(st.integers(1, 6)), draw(st.integers(0, 999)))
    counts[:, 0] += 1  # something is labeled in every image
    grouped = draw(st.booleans()) if grouped is None else grouped
    number = draw(st.integers(2, 8)) if grouped else 0
    groups = [draw(st.sampled_from('abcdefgh'[:number])) for _ in stems] if number else None
    return stems, counts, groups


def shuffled(pool, seed):
    stems, counts, groups = pool
    order = list(range(len(stems)))
    random.Random(seed).shuffle(order)
    return (
        [stems[i] for i in order],
        counts[order],
        None if groups is None else [groups[i] for i in order],
    )


@pytest.mark.parametrize(
    ('size', 'total', 'images'),
    [
        (12, 100, 12),
        (Fraction(1, 16), 100, 6),
        (Fraction(1, 16), 10582, 661),
        (Fraction(1, 8), 100, 13),  # 12.5: half up
        (Fraction(1, 8), 4, 1),
        (Fraction(1, 8), 3, 1),  # at least one
        (Fraction(1), 7, 7),
    ],
)
def test_a_ratio_is_rounded_half_up_to_at_least_one(size, total, images):
    assert resolve_size(size, total) == images


@many
@given(pool=pools(grouped=False), method=METHODS, seed=SEEDS, data=st.data())
def test_sizes_are_exact_and_nested(pool, method, seed, data):
    stems, counts, _ = pool
    sizes = data.draw(st.lists(st.integers(1, len(stems)), min_size=1, max_size=4))
    parts = nested(stems, sizes, counts, method=method, seed=seed)
    assert [len(part) for part in parts] == sizes
    assert all(part == sorted(set(part)) and set(part) <= set(stems) for part in parts)
    ascending = sorted(parts, key=len)
    assert all(set(a) <= set(b) for a, b in pairwise(ascending))


@many
@given(pool=pools(), method=METHODS, seed=SEEDS, data=st.data())
def test_the_order_of_the_input_does_not_matter(pool, method, seed, data):
    size = data.draw(st.integers(1, len(pool[0])))
    found = []
    for stems, counts, groups in (pool, shuffled(pool, seed)):
        how = dict(counts=counts, groups=groups, method=method, seed=seed)
        found.append([*nested(stems, [size], **how), hold_out(stems, size, **how)])
    assert found[0] == found[1]


@many
@given(pool=pools(grouped=True), method=METHODS, seed=SEEDS, data=st.data())
def test_groups_stay_whole_and_no_further_one_would_come_nearer(pool, method, seed, data):
    stems, counts, groups = pool
    sizes = sorted(data.draw(st.lists(st.integers(1, len(stems)), min_size=1, max_size=4)))
    parts = nested(stems, sizes, counts, groups, method=method, seed=seed)
    assert all(set(a) <= set(b) for a, b in pairwise(parts))
    of = dict(zip(stems, groups, strict=True))
    for size, part in zip(sizes, parts, strict=True):
        inside = {of[stem] for stem in part}
        assert part == sorted(stem for stem in stems if of[stem] in inside)
        left = [groups.count(group) for group in sorted(set(groups) - inside)]
        assert all(abs(len(part) + more - size) >= abs(len(part) - size) for more in left)
        if len(inside) > 1:  # the last group brought it nearer
            assert 2 * (len(part) - size) < max(groups.count(group) for group in inside)


@many
@given(
    pool=pools(max_size=24), masked=st.integers(2, 24), method=METHODS, seed=SEEDS,
    holdout=st.sampled_from([None, 1, 2, Fraction(1, 5)]),
)  # fmt: skip
def test_lists_share_out_all_images(pool, masked, method, seed, holdout):
    images, counts, groups = pool
    with_mask, counts = images[:masked], counts[:masked]
    counts = counts if method == 'stratified' else None
    sizes: dict[str, splits.Size] = {'1_3': Fraction(1, 3), '1': 1}
    try:
        lists = make_lists(images, with_mask, sizes, holdout, counts, groups, seed)
    except ValueError as error:  # too few images or groups for it
        if 'cannot choose' in str(error):
            return
        raise
    of = dict(zip(images, groups or images, strict=True))
    held = lists.pop('holdout', [])
    closed = {of[stem] for stem in held}
    assert set(held) <= set(with_mask)
    usable = sorted(stem for stem in images if of[stem] not in closed)
    assert all(part == sorted(part) for part in lists.values())
    for name, size in sizes.items():
        labeled, unlabeled = lists[f'{name}_labeled'], lists[f'{name}_unlabeled']
        assert sorted(labeled + unlabeled) == usable  # disjoint, and all
        assert set(labeled) <= set(with_mask)
        if groups is None:
            assert len(labeled) == resolve_size(size, len(set(usable) & set(with_mask)))


@many
@given(pool=pools(grouped=False), seed=SEEDS)
def test_each_stratified_step_covers_most_classes_and_of_these_comes_nearest(pool, seed):
    stems, counts, _ = pool
    own = dict(zip(stems, counts, strict=True))
    parts = nested(stems, range(1, len(stems) + 1), counts, method='stratified', seed=seed)
    for before, now in pairwise([[], *parts]):
        [taken] = set(now) - set(before)
        have = sum((own[stem] for stem in before), np.zeros_like(counts[0]))
        left = [stem for stem in stems if stem not in before]
        gains = {stem: ((own[stem] > 0) & (have == 0)).sum() for stem in left}
        assert gains[taken] == max(gains.values())
        distance = {stem: share_distance(have + own[stem], counts.sum(0)) for stem in left}
        best = min(distance[stem] for stem in left if gains[stem] == gains[taken])
        assert distance[taken] == pytest.approx(best, abs=1e-7)
    classes = (counts.sum(0) > 0).sum()
    enough = [own[stem] for stem in parts[min(classes, len(parts)) - 1]]
    assert (sum(enough) > 0).sum() == classes  # one image a class suffices


def test_groups_are_taken_while_they_fit_by_hand():
    groups = [*'aaaaabbbc', 'd', 'd']  # of 5, 3, 1 and 2 images
    stems = [f'{i:02}' for i in range(11)]

    def sizes(*asked):
        drawn = [nested(stems, asked, groups=groups, seed=seed) for seed in range(100)]
        return {tuple(map(len, parts)) for parts in drawn}

    assert sizes(1) == {(1,)}
    assert sizes(2) == {(2,), (1,)}  # d; or c, and then d comes no nearer
    assert sizes(4) == {(4,), (3,)}  # b and c; or c and d, and then b comes no nearer
    assert sizes(10) == {(10,), (9,), (11,)}  # abd; abc; acd or bcd, and then the last is nearer
    assert sizes(1, 11) == {(1, 11)}
    assert nested(list('xyz'), [1], groups=['g', 'g', 'g']) == [['x', 'y', 'z']]  # at least one


@many
@given(st.integers(20, 80), st.integers(2, 12), st.integers(0, 10**6), st.floats(0.15, 0.6))
def test_stratified_shares_are_nearer_than_random_ones(number, classes, seed, share):
    counts = pixels(number, classes, seed)
    stems = [f'{i:03}' for i in range(number)]
    size = max(classes, round(share * number))

    def error(method, seed):
        [part] = nested(stems, [size], counts, method=method, seed=seed)
        return share_distance(counts[[int(stem) for stem in part]].sum(0), counts.sum(0))

    assert error('stratified', 0) <= np.mean([error('plain', seed) for seed in range(8)])


@many
@given(st.integers(3, 30), st.integers(1, 6), st.integers(0, 10**6), st.data())
def test_a_stratified_hold_out_leaves_every_class_to_learn_from(number, classes, seed, data):
    counts = pixels(number, classes, seed)
    size = data.draw(st.integers(1, number))
    stems = [f'{i:03}' for i in range(number)]
    held = [int(s) for s in hold_out(stems, size, counts, method='stratified', seed=seed)]
    rest = [i for i in range(number) if i not in held]
    if number - size >= classes:  # then keeping one image of each class is possible
        assert ((counts[rest] > 0).any(0) == (counts > 0).any(0)).all()


def test_a_stratified_choice_by_hand():
    counts = np.array([[90, 10, 0], [50, 0, 50], [100, 0, 0], [60, 30, 10], [0, 0, 0]])
    stems = list('abcde')
    # d has all classes; the target's shares are 300 : 40 : 60, so then
    # b: 110 : 30 : 60, c: 160 : 30 : 10 and a: 150 : 40 : 10 compete
    parts = nested(stems, [1, 2, 4, 5], counts, method='stratified')
    assert parts[0] == ['d']
    distance = [share_distance(counts[[3, i]].sum(0), counts.sum(0)) for i in range(3)]
    assert parts[1] == sorted(['d', 'abc'[int(np.argmin(distance))]])
    assert parts[2] == ['a', 'b', 'c', 'd']  # void alone comes last


def test_seeds_differ_and_every_image_has_the_same_chance():
    stems = [f'{i:02}' for i in range(10)]
    drawn = [nested(stems, [2], seed=seed)[0] for seed in range(2000)]
    counts = np.array([sum(stem in part for part in drawn) for stem in stems])
    assert ((counts - 400) ** 2 / 320).sum() < 27.9  # about chi-square, 9 degrees, p = 0.001


def test_the_hold_out_and_the_labeled_images_are_drawn_apart():
    # by the same bits the labeled image would be the held-out one's neighbor in every draw
    images = [f'{i:02}' for i in range(40)]
    gaps = []
    for seed in range(200):
        lists = make_lists(images, images, {'1': 1}, 1, seed=seed)
        gaps.append(abs(int(lists['holdout'][0]) - int(lists['1_labeled'][0])))
    assert np.mean(np.array(gaps) == 1) < 0.15  # 1/20 by chance


def test_known_draws_stay_as_they_are():
    # published lists must be made again by any later version
    stems = [f'{i:02}' for i in range(12)]
    counts = np.arange(36).reshape(12, 3) % 7
    assert nested(stems, [4], seed=3) == [['00', '04', '07', '09']]
    assert nested(stems, [4], counts, method='stratified', seed=3) == [['01', '04', '06', '09']]


@pytest.mark.parametrize(
    ('call', 'says'),
    [
        (lambda: nested(['a', 'b'], [3]), 'cannot choose 3 of 2 images'),
        (
            lambda: nested(['a'], [1], np.zeros((1, 2), int), method='stratified'),
            'no mask holds a labeled pixel',
        ),
        (lambda: nested(['a'], [1], seed=-1), 'seed must not be negative, got -1'),
    ],
)
def test_what_cannot_be_chosen(call, says):
    with pytest.raises(ValueError, match=says):
        call()
