"""A labeled and an unlabeled data set as one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from .checks import check_dataset_config, check_files, check_images


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run with Python's and numpy's generators at ``seed``, then put both back."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - what mmcv's transforms use
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@DATASETS.register_module()
class SemiDataset(Dataset):
    """Labeled samples first, then unlabeled ones; each sample names its stream.

    A sample is what the part's own pipeline packs, plus ``stream``: ``'sup'`` or ``'unsup'``.
    Files are checked when it is built, so a missing or broken one is named before training
    starts. In a distributed run all processes build it together.

    Args:
        labeled: Any mmseg data set config.
        unlabeled: Usually an ``UnlabeledDataset``; no mask of it is ever read.
        skip_bad: Up to so many images of both together are left out, with a warning, if they or
            their masks cannot be decoded.

    Raises:
        FileNotFoundError: A data root, list, image or mask is missing.
        ValueError: A list is empty; images cannot be decoded, or masks do not fit.
    """

    def __init__(self, labeled: dict, unlabeled: dict, skip_bad: int = 0) -> None:
        if skip_bad < 0:
            raise ValueError(f'SemiDataset: skip_bad must be at least 0, got {skip_bad}')
        self.parts = []
        for stream, config in (('labeled', labeled), ('unlabeled', unlabeled)):
            check_dataset_config(config, f'train_dataloader.dataset.{stream}')
            part = DATASETS.build(config)
            check_files(part, f'train_dataloader.dataset.{stream}')
            self.parts.append(part)
        check_images(self, 'train_dataloader.dataset', skip_bad)
        self.labeled, self.unlabeled = self.parts

    @property
    def metainfo(self) -> dict:
        """Classes and palette: the labeled part's. They go into every checkpoint."""
        return self.labeled.metainfo

    @property
    def lengths(self) -> tuple[int, int]:
        """Number of labeled and of unlabeled samples."""
        return len(self.labeled), len(self.unlabeled)

    def __len__(self) -> int:
        return sum(self.lengths)

    def __getitem__(self, draw: int | tuple[int, int]) -> dict[str, Any]:
        """A sample by index, or by (index, augmentation seed) as :class:`SemiSampler` draws it."""
        if isinstance(draw, tuple):
            index, seed = draw
            with seeded(seed):
                return self[index]
        first = len(self.labeled)
        if draw < first:
            return dict(self.labeled[draw], stream='sup')
        return dict(self.unlabeled[draw - first], stream='unsup')
