"""The stream of draws: ratio, coverage, processes, resume and augmentation seeds."""

from itertools import islice

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmseg_u2pl.datasets import SemiDataset, SemiSampler, sampler


class Lengths(SemiDataset):
    """A ``SemiDataset`` that is nothing but long."""

    def __init__(self, labeled, unlabeled):
        self.sizes = labeled, unlabeled

    @property
    def lengths(self):
        return self.sizes


def sampler_of(labeled, unlabeled, rank=0, world_size=1, **settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, 'get_dist_info', lambda: (rank, world_size))
        return SemiSampler(Lengths(labeled, unlabeled), **{'seed': 3, **settings})


def draws(one, count):
    """(index, augmentation seed) of the first draws."""
    return [tuple(draw) for draw in islice(iter(one), count)]


def indices_of(one, count):
    return [index for index, _ in draws(one, count)]


SIZES = dict(labeled=st.integers(1, 12), unlabeled=st.integers(1, 30))
RATIO = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(**SIZES, ratio=RATIO, repeats=st.integers(1, 3))
def test_every_batch_has_exactly_the_ratio(labeled, unlabeled, ratio, repeats):
    size = repeats * sum(ratio)
    stream = iter(sampler_of(labeled, unlabeled, ratio=ratio))
    for _ in range(8):
        batch = [next(stream)[0] for _ in range(size)]
        assert sum(index < labeled for index in batch) == repeats * ratio[0]
        assert all(0 <= index < labeled + unlabeled for index in batch)


def test_the_pattern_by_hand():
    labeled, unlabeled = (
        [i for epoch in (0, 1) for i in np.random.default_rng((3, start, epoch)).permutation(pool)]
        for start, pool in ((0, [0, 1]), (2, [2, 3, 4]))
    )
    first, second, third = labeled[:3]
    a, b, c, d, e, f = unlabeled
    indices = indices_of(sampler_of(2, 3, ratio=(1, 2)), 9)
    assert indices == [first, a, b, second, c, d, third, e, f]


@given(**SIZES, ratio=RATIO, world_size=st.integers(1, 4))
def test_all_processes_together_run_through_permutations(labeled, unlabeled, ratio, world_size):
    samplers = [
        sampler_of(labeled, unlabeled, rank, world_size, ratio=ratio) for rank in range(world_size)
    ]
    turns = 3 * max(labeled, unlabeled)
    by_rank = [indices_of(one, turns * sum(ratio)) for one in samplers]
    for pool, size in ((range(labeled), labeled), (range(labeled, labeled + unlabeled), unlabeled)):
        own = [[index for index in indices if index in pool] for indices in by_rank]
        merged = [index for together in zip(*own, strict=True) for index in together]
        assert len(merged) >= 2 * size
        for start in range(0, len(merged) - size + 1, size):  # ranks take turns, in one stream
            assert sorted(merged[start : start + size]) == list(pool)


def test_permutations_differ_between_epochs_pools_and_seeds():
    def epoch(number, **settings):
        own = indices_of(sampler_of(20, 20, **settings), 40 * (number + 1))[40 * number :]
        return own[::2], [index - 20 for index in own[1::2]]

    first, second, other = epoch(0), epoch(1), epoch(0, seed=4)
    orders = [*first, *second, *other]
    assert len({tuple(order) for order in orders}) == 6
    assert epoch(1) == second


@pytest.mark.parametrize('epoch', [0, 2])
@pytest.mark.parametrize(('labeled', 'unlabeled'), [(3, 7), (200, 55), (200, 56), (9, 70_000)])
def test_a_seed_gives_the_order_that_it_always_gave(labeled, unlabeled, epoch):
    """Published scores hang on it: numpy's permutation of long indices by (seed, start, epoch)."""
    stream = sampler_of(labeled, unlabeled)
    for place, (start, size) in enumerate(((0, labeled), (labeled, unlabeled))):
        rng = np.random.default_rng((3, start, epoch))
        order = rng.permutation(np.arange(start, start + size))[:300]
        stream.skip(2 * epoch * size)
        assert indices_of(stream, 2 * len(order))[place::2] == order.tolist()


def test_known_draws_stay_as_they_are():
    """Indices, three labeled and seven unlabeled in turn, and augmentation seeds."""
    assert draws(sampler_of(3, 7), 12) == [
        (2, 1576890651), (4, 457190280), (1, 960329833), (9, 4253259675),
        (0, 2746448868), (8, 3746004709), (2, 534926514), (6, 2580024465),
        (0, 1820076146), (5, 2954317433), (1, 3843874747), (7, 1841034276),
    ]  # fmt: skip


def test_another_seed_gives_its_stream_from_here_on():
    one, two = (sampler_of(4, 6, seed=seed) for seed in (1, 2))
    first = draws(one, 12)
    assert draws(two, 12) != first
    two.reseed(1)
    assert draws(two, 12) == first


def test_shuffling_is_uniform():
    first = [next(iter(sampler_of(5, 1, seed=seed)))[0] for seed in range(2000)]
    counts = np.bincount(first, minlength=5)
    assert ((counts - 400) ** 2 / 400).sum() < 18.5  # chi-square, 4 degrees, p = 0.001


@given(**SIZES, ratio=RATIO, start=st.integers(0, 200), rank=st.integers(0, 2))
def test_skipping_continues_where_an_uninterrupted_stream_would_be(
    labeled, unlabeled, ratio, start, rank
):
    whole, resumed = (sampler_of(labeled, unlabeled, rank, 3, ratio=ratio) for _ in range(2))
    resumed.skip(start)
    assert draws(resumed, 20) == draws(whole, start + 20)[start:]


def test_augmentation_seeds_are_unique_over_ranks_and_draws():
    seeds = [seed for rank in range(4) for _, seed in draws(sampler_of(3, 5, rank, 4), 500)]
    assert len(set(seeds)) > 1990  # 32-bit: a chance collision is possible, a pattern is not
    assert all(0 <= seed < 2**32 for seed in seeds)


@given(**SIZES, ratio=RATIO, world_size=st.integers(1, 4))
def test_its_length_is_once_over_the_unlabeled_images(labeled, unlabeled, ratio, world_size):
    samplers = [
        sampler_of(labeled, unlabeled, rank, world_size, ratio=ratio) for rank in range(world_size)
    ]
    seen, before = set(), set()
    length = len(samplers[0])
    for one in samplers:
        indices = indices_of(one, length)
        seen.update(indices)
        before.update(indices[: length - sum(ratio)])
    assert len([index for index in seen if index >= labeled]) == unlabeled
    assert len([index for index in before if index >= labeled]) < unlabeled


@given(**SIZES, ratio=RATIO, world_size=st.integers(1, 3))
def test_a_supervised_baseline_draws_the_same_labeled_images(labeled, unlabeled, ratio, world_size):
    for rank in range(world_size):
        semi = sampler_of(labeled, unlabeled, rank, world_size, ratio=ratio)
        baseline = sampler_of(labeled, 0, rank, world_size, ratio=(1, 0))
        drawn = [i for i in indices_of(semi, 20 * sum(ratio)) if i < labeled]
        assert indices_of(baseline, len(drawn)) == drawn
        assert len(baseline) == -(-labeled // world_size)
        resumed = sampler_of(labeled, 0, rank, world_size, ratio=(1, 0))
        resumed.skip(7)
        assert draws(resumed, 20) == draws(baseline, 27)[7:]


@pytest.mark.parametrize('workers', [0, 2])
def test_images_depend_on_the_seed_and_neither_on_workers_nor_on_other_randomness(
    data_root, workers
):
    def batches(workers, noise, skip=0, seed=5):
        np.random.seed(noise)  # noqa: NPY002 - mmseg's transforms use it
        dataset = SemiDataset(tiny.labeled_config(data_root), tiny.unlabeled_config(data_root))
        stream = SemiSampler(dataset, seed=seed)
        stream.skip(skip * 4)
        loader = DataLoader(
            dataset, batch_size=4, sampler=stream, num_workers=workers, collate_fn=pseudo_collate
        )
        return [batch['inputs'] for batch in islice(iter(loader), 5 - skip)]

    expected = batches(0, noise=0)
    for got, from_step in ((batches(workers, 1), 0), (batches(workers, 2, skip=3), 3)):
        for one, other in zip(got, expected[from_step:], strict=True):
            assert all(map(torch.equal, one, other))
    other = batches(workers, 0, seed=6)
    assert not all(
        a.shape == b.shape and torch.equal(a, b)
        for one, two in zip(other, expected, strict=True)
        for a, b in zip(one, two, strict=True)
    )


# ----------------------------------------------------------------------------- messages
@pytest.mark.parametrize('ratio', [(0, 1), (1, -1), (1.5, 1), (1,), (1, 1, 1)])
def test_a_ratio_that_makes_no_batch_is_named(ratio):
    with pytest.raises(ValueError, match=r'sampler\.ratio=.*two positive whole numbers') as error:
        SemiSampler(Lengths(2, 2), ratio=ratio)
    assert str(ratio) in str(error.value)


def test_a_ratio_that_does_not_fit_the_data_set_is_named():
    with pytest.raises(ValueError, match=r'Use ratio=\(1, 0\)'):
        SemiSampler(Lengths(2, 0), ratio=(1, 1))


def test_another_data_set_is_refused():
    with pytest.raises(TypeError, match='needs a SemiDataset, got list'):
        SemiSampler([1, 2])  # type: ignore[arg-type]
