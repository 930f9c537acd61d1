"""An infinite sampler that keeps labeled : unlabeled fixed in every batch."""

from collections.abc import Iterator

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from .semi_dataset import SemiDataset


@DATA_SAMPLERS.register_module()
class SemiSampler(Sampler):
    """Endless draws in the pattern of ``ratio``: (1, 1) is labeled, unlabeled, labeled, ...

    A draw is what :class:`SemiDataset` takes: (index of a sample, seed of its augmentation).

    Invariants:
        * A batch whose size is a multiple of ``sum(ratio)`` holds the ratio exactly; the batch
          size itself is given once, to the dataloader.
        * Each pool runs through its own seeded permutations, so within ``len(pool)`` draws of
          all processes together nothing repeats.
        * Processes take turns: rank r takes draws r, r + W, r + 2W, ... of each pool.
        * The stream, augmentation seeds included, depends on the seed alone: not on the number
          of workers, and :meth:`skip` continues it at any position at no cost.

    Args:
        dataset: A :class:`SemiDataset`.
        ratio: Labeled and unlabeled samples of the repeating pattern. (1, 0) for a data set without
            unlabeled part: a supervised baseline then sees the labeled images in the same order
            as a semi-supervised run of the same seed.
        seed: None draws one and shares it among processes.

    Raises:
        TypeError: ``dataset`` is not a ``SemiDataset``.
        ValueError: A ratio that is not two positive whole numbers, or that asks for unlabeled
            samples where the data set has none.
    """

    def __init__(
        self, dataset: SemiDataset, ratio: tuple[int, int] = (1, 1), seed: int | None = None
    ) -> None:
        if not isinstance(dataset, SemiDataset):
            raise TypeError(f'SemiSampler needs a SemiDataset, got {type(dataset).__name__}')
        _check_ratio(ratio, dataset.lengths[1])
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.ratio = (int(ratio[0]), int(ratio[1]))
        self.seed = sync_random_seed() if seed is None else seed
        self._epochs, self._orders = [-1, -1], [np.arange(0), np.arange(0)]  # of each pool
        self._position = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        position = self._position
        while True:
            yield self._draw(position)
            position += 1

    def _draw(self, position: int) -> tuple[int, int]:
        """This rank's draw number ``position``."""
        turn, place = divmod(position, sum(self.ratio))
        pool = 0 if place < self.ratio[0] else 1
        nth = turn * self.ratio[pool] + place - pool * self.ratio[0]  # of this rank in the pool
        index = self._index(pool, nth * self.world_size + self.rank)
        seed = np.random.SeedSequence((self.seed, position, self.rank)).generate_state(1)[0]
        return index, int(seed)

    def _index(self, pool: int, position: int) -> int:
        """The sample at a position of the endless permutations of a pool."""
        start = self.dataset.lengths[0] if pool else 0
        end = start + self.dataset.lengths[pool]
        epoch, offset = divmod(position, end - start)
        if epoch != self._epochs[pool]:
            # in place, and the smallest type, as pools may be long; neither changes the order
            order = np.arange(start, end, dtype=np.min_scalar_type(end))
            np.random.default_rng((self.seed, start, epoch)).shuffle(order)
            self._epochs[pool], self._orders[pool] = epoch, order
        return int(self._orders[pool][offset])

    def reseed(self, seed: int) -> None:
        """Draw the stream of another seed from here on, such as that of a resumed run."""
        self.seed, self._epochs = seed, [-1, -1]

    def skip(self, num_samples: int) -> None:
        """Start at this rank's draw ``num_samples``, counted from the beginning of the stream."""
        self._position = num_samples

    def __len__(self) -> int:
        """Draws of this rank until every image of the last pool (unlabeled) was seen once."""
        last = 1 if self.ratio[1] else 0
        turns = -(-self.dataset.lengths[last] // (self.ratio[last] * self.world_size))
        return turns * sum(self.ratio)


def _check_ratio(ratio: tuple[int, int], num_unlabeled: int) -> None:
    where = f'train_dataloader.sampler.ratio={ratio}'
    if len(ratio) != 2 or any(int(part) != part or part < 0 for part in ratio) or ratio[0] < 1:
        raise ValueError(
            f'{where}: give two positive whole numbers, labeled and unlabeled, for example (1, 1)'
        )
    if ratio[1] and not num_unlabeled:
        raise ValueError(
            f'{where}: the SemiDataset has no unlabeled part. Use ratio=(1, 0), or give it '
            'unlabeled=...'
        )
