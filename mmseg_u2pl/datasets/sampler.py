"""An infinite sampler that keeps labeled : unlabeled fixed in every batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from .semi_dataset import SemiDataset


class Draw(NamedTuple):
    """What the sampler hands the data set: which sample, and the seed of its augmentation."""

    sample: int
    seed: int


class _Pool:
    """The endless, seeded permutations of one pool; any position can be asked for at once."""

    def __init__(self, start: int, size: int, seed: int, shuffle: bool) -> None:
        self.start, self.size, self.seed, self.shuffle = start, size, seed, shuffle
        self._epoch = -1
        self._order = np.arange(0)

    def __getitem__(self, position: int) -> int:
        epoch, offset = divmod(position, self.size)
        if epoch != self._epoch:
            end = self.start + self.size
            order = np.arange(self.start, end, dtype=np.min_scalar_type(end))
            if self.shuffle:  # in place, and the type does not change the order
                np.random.default_rng((self.seed, self.start, epoch)).shuffle(order)
            self._epoch, self._order = epoch, order
        return int(self._order[offset])


@DATA_SAMPLERS.register_module()
class SemiSampler(Sampler):
    """Endless draws in the pattern of ``ratio``: (1, 1) is labeled, unlabeled, labeled, ...

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
        shuffle: Permute each pool; else its own order.
        seed: None draws one and shares it among processes.

    Raises:
        TypeError: ``dataset`` is not a ``SemiDataset``.
        ValueError: A ratio that is not two positive whole numbers, or that asks for unlabeled
            samples where the data set has none, and the reverse.
    """

    def __init__(
        self,
        dataset: SemiDataset,
        ratio: tuple[int, int] = (1, 1),
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        if not isinstance(dataset, SemiDataset):
            raise TypeError(f'SemiSampler needs a SemiDataset, got {type(dataset).__name__}')
        _check_ratio(ratio, dataset)
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.ratio = (int(ratio[0]), int(ratio[1]))
        self.seed = sync_random_seed() if seed is None else seed
        labeled, unlabeled = dataset.lengths
        self._pools = (
            _Pool(0, labeled, self.seed, shuffle),
            _Pool(labeled, unlabeled, self.seed, shuffle),
        )
        self._position = 0

    def __iter__(self) -> Iterator[Draw]:
        position = self._position
        while True:
            yield self._draw(position)
            position += 1

    def _draw(self, position: int) -> Draw:
        """This rank's draw number ``position``."""
        turn, place = divmod(position, sum(self.ratio))
        labeled = place < self.ratio[0]
        share = self.ratio[0] if labeled else self.ratio[1]
        nth = turn * share + (place if labeled else place - self.ratio[0])  # of this rank, pool
        index = self._pools[0 if labeled else 1][nth * self.world_size + self.rank]
        seed = np.random.SeedSequence((self.seed, position, self.rank)).generate_state(1)[0]
        return Draw(index, int(seed))

    def skip(self, num_samples: int) -> None:
        """Start at this rank's draw ``num_samples``, counted from the beginning of the stream.

        Raises:
            ValueError: A negative count.
        """
        if num_samples < 0:
            raise ValueError(f'num_samples must not be negative, got {num_samples}')
        self._position = num_samples

    def __len__(self) -> int:
        """Draws of this rank until every image of the last pool (unlabeled) was seen once."""
        last = 1 if self.ratio[1] else 0
        turns = -(-self.dataset.lengths[last] // (self.ratio[last] * self.world_size))
        return turns * sum(self.ratio)

    def set_epoch(self, epoch: int) -> None:
        """Nothing to do: the stream has no epochs."""


def _check_ratio(ratio: tuple[int, int], dataset: SemiDataset) -> None:
    where = f'train_dataloader.sampler.ratio={ratio}'
    unlabeled = dataset.lengths[1]
    if len(ratio) != 2 or any(int(part) != part or part < 0 for part in ratio) or ratio[0] < 1:
        raise ValueError(
            f'{where}: give two positive whole numbers, labeled and unlabeled, for example (1, 1)'
        )
    if ratio[1] and not unlabeled:
        raise ValueError(
            f'{where}: the SemiDataset has no unlabeled part. Use ratio=(1, 0), or give it '
            'unlabeled=...'
        )
    if unlabeled and not ratio[1]:
        raise ValueError(
            f'{where}: no batch would have one of the {unlabeled} unlabeled images. Use (1, 1), or '
            'unlabeled=None for a supervised baseline'
        )
