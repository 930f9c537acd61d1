"""A labeled and an unlabeled data set as one."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from .checks import check_dataset_config
from .labels import Labels, count_labels

WHERE = 'train_dataloader.dataset'


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


def sample_of(dataset: Any, index: int) -> dict[str, Any]:
    """What the pipeline of a data set makes of an image; ValueError names the image where it fails."""
    try:
        return dataset[index]
    except Exception as error:
        info = dataset.get_data_info(index)
        mask = f' with the mask {info["seg_map_path"]!r}' if 'seg_map_path' in info else ''
        raise ValueError(
            f'the pipeline fails at the image {info["img_path"]!r}{mask}: '
            f'{type(error).__name__}: {error}. If a file is damaged, replace it, or take its '
            'line out of the list; tools/check_data.py CONFIG names all damaged files'
        ) from error


@DATASETS.register_module()
class SemiDataset(Dataset):
    """Labeled samples first, then unlabeled ones; each sample names its stream.

    A sample is what the part's pipeline packs, plus ``stream``: ``'sup'`` or ``'unsup'``. Without
    an unlabeled part samples carry no ``stream``, and any mmseg segmentor trains on them: this
    is the data set of a supervised baseline.

    Args:
        labeled: Any mmseg data set config.
        unlabeled: Usually an ``UnlabeledDataset``; no mask of it is ever read. None: no such part.

    Raises:
        FileNotFoundError: A data root, folder or list is missing. Images and masks are looked
            for before training starts: :func:`check_files`.
        ValueError: A list is empty or has a bad line. When a sample is drawn: its pipeline fails,
            for example at a damaged file; names the image and the mask.
    """

    def __init__(self, labeled: dict, unlabeled: dict | None = None) -> None:
        self.parts: dict[str, Any] = {}
        for name, config in (('labeled', labeled), ('unlabeled', unlabeled)):
            if config is not None:
                check_dataset_config(config, f'{WHERE}.{name}')
                self.parts[name] = DATASETS.build(config)
        self.labeled, self.unlabeled = self.parts['labeled'], self.parts.get('unlabeled')

    @property
    def metainfo(self) -> dict:
        """Classes and palette: the labeled part's. They go into every checkpoint."""
        return self.labeled.metainfo

    @property
    def lengths(self) -> tuple[int, int]:
        """Number of labeled and of unlabeled samples."""
        return len(self.labeled), 0 if self.unlabeled is None else len(self.unlabeled)

    @cached_property
    def labels(self) -> Labels:
        """Pixels of each label in the labeled masks, and examples; each mask is read once.

        In a distributed run all processes ask for it together. Errors as :func:`count_labels`.
        """
        return count_labels(self.labeled, f'{WHERE}.labeled')

    def __len__(self) -> int:
        return sum(self.lengths)

    def __getitem__(self, draw: int | tuple[int, int]) -> dict[str, Any]:
        """A sample by index, or by (index, augmentation seed) as :class:`SemiSampler` draws it."""
        if isinstance(draw, tuple):
            index, seed = draw
            with seeded(seed):
                return self[index]
        if draw >= len(self):
            raise IndexError(f'{draw} of {len(self)} samples')
        first = len(self.labeled)
        labeled = draw < first
        dataset: Any = self.labeled if labeled else self.unlabeled
        sample = sample_of(dataset, draw if labeled else draw - first)
        return (
            sample if self.unlabeled is None else dict(sample, stream='sup' if labeled else 'unsup')
        )
