"""Data sets, sampler and transforms; importing this registers them with mmseg."""

from .folder import FolderDataset
from .masks import LoadMask
from .sampler import SemiSampler
from .semi_dataset import SemiDataset
from .small_datasets import (
    CamVidDataset,
    LabelMeFacadeDataset,
    SyntheticStreetDataset,
    VOCAnimalsDataset,
)
from .unlabeled import AddValidityMap, UnlabeledDataset
