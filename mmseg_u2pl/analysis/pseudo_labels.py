"""Compare the pseudo-labels of any method with the ground truth of the unlabeled images.

A diagnosis: nothing in training reads these masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS

from ..datasets.checks import check_files, infos
from ..functional import nearest
from ..models import SemiSegmentor
from .quality import PseudoLabelQuality


class Measurement(NamedTuple):
    """The pseudo-labels of one network in one checkpoint."""

    checkpoint: str  # file name
    iteration: int
    network: str
    quality: PseudoLabelQuality


def unlabeled_with_truth(cfg: Config, masks: str) -> Any:
    """The unlabeled images with their ground truth, through the test pipeline.

    Args:
        cfg: A training config of a semi-supervised method.
        masks: Folder of the masks, below the unlabeled data set's ``data_root``.

    Returns:
        A data set of the labeled part's class.

    Raises:
        FileNotFoundError: The folder does not exist, or an image has no mask in it.
        ValueError: The config has no unlabeled images.
    """
    parts = cfg.train_dataloader.dataset
    unlabeled = parts.get('unlabeled')
    if unlabeled is None:
        raise ValueError(
            'train_dataloader.dataset has no unlabeled images: give the config of a '
            'semi-supervised method'
        )
    root = unlabeled.get('data_root') or ''
    folder = Path(root, masks)
    if not folder.is_dir():
        raise FileNotFoundError(
            f'--masks {masks}: no folder {str(folder)!r}. It holds the masks of the unlabeled '
            f'images and is given relative to their data_root, {root!r}'
        )
    dataset = DATASETS.build(
        {
            **parts.labeled,
            'data_root': root,
            'data_prefix': dict(img_path=unlabeled.data_prefix['img_path'], seg_map_path=masks),
            'ann_file': unlabeled.get('ann_file') or '',
            'pipeline': cfg.test_dataloader.dataset.pipeline,
        }
    )
    check_files(dataset, f'--masks {masks}')
    if unlabeled.get('without'):  # no list names the unlabeled images
        unlabeled_images = {info['img_path'] for info in infos(DATASETS.build(unlabeled))}
        paths = [info['img_path'] for info in infos(dataset)]
        dataset.get_subset_([i for i, path in enumerate(paths) if path in unlabeled_images])
    return dataset


def unlabeled_per_batch(cfg: Config) -> int:
    """Unlabeled images in a batch of one process: those that a step selects among."""
    loader = cfg.train_dataloader
    labeled, unlabeled = loader.get('sampler', {}).get('ratio', (1, 1))
    return max(1, loader.batch_size // (labeled + unlabeled) * unlabeled)


def batches(dataset: Any, indices: Iterable[int], size: int) -> Iterator[list[dict]]:
    """Samples in groups of at most ``size``; an image of another size starts a new group."""
    group: list[dict] = []
    group_sizes = None
    for index in indices:
        sample = dataset[index]
        sizes = sample['inputs'].shape, sample['data_samples'].gt_sem_seg.shape
        if group and (len(group) == size or sizes != group_sizes):
            yield group
            group = []
        group.append(sample)
        group_sizes = sizes
    if group:
        yield group


def load_method(model: Any, path: str | Path, max_iters: int) -> int:
    """Load a checkpoint and put the method where training stood when it was saved.

    Args:
        model: As its config builds it; afterwards in evaluation mode.
        path: ``iter_*.pth``.
        max_iters: T, iterations of the whole training.

    Returns:
        The iteration of the checkpoint.

    Raises:
        ValueError: The model makes no pseudo-labels, not yet at this checkpoint, or the checkpoint
            does not say at which iteration it was saved.
    """
    if not isinstance(model, SemiSegmentor):
        raise ValueError(
            f'{type(model).__name__} makes no pseudo-labels: give the config of a '
            'semi-supervised method'
        )
    checkpoint = load_checkpoint(model, str(path), map_location='cpu', strict=True)
    iteration = checkpoint.get('meta', {}).get('iter')
    if iteration is None:
        raise ValueError(f'{path} does not say at which iteration it was saved (meta.iter)')
    model.before_iter(iteration, max_iters)
    if model.in_warmup:
        raise ValueError(
            f'{path} was saved during the warm-up, at iteration {iteration} of '
            f'{model.warmup_iters}: there are no pseudo-labels yet'
        )
    model.eval()
    return iteration


@torch.no_grad()
def measure(model: SemiSegmentor, groups: Iterable[list[dict]]) -> dict[str, PseudoLabelQuality]:
    """Compare the pseudo-labels of clean images with their ground truth.

    Pseudo-labels come to the size of the masks by nearest sampling: masks never change. As in
    training, a percentile is taken over all pixels of a group.

    Args:
        model: Loaded by :func:`load_method`.
        groups: Samples of equal size, from :func:`batches`.

    Returns:
        The counts over all groups, by the name of the network that labels.
    """
    found: dict[str, PseudoLabelQuality] = {}
    for group in groups:
        data = {key: [sample[key] for sample in group] for key in ('inputs', 'data_samples')}
        height, width = data['inputs'][0].shape[1:]
        data = model.data_preprocessor(data, False)
        images = data['inputs']
        truth = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
        valid = torch.zeros_like(images[:, 0], dtype=torch.bool)
        valid[:, :height, :width] = True  # the preprocessor pads at the right and the bottom
        for name, (label, keep, prob) in model.pseudo_labels(images, valid).items():
            quality = found.setdefault(name, PseudoLabelQuality(model.num_classes))
            label, keep, confidence = (
                nearest(maps[:, :height, :width], truth.shape[1:])
                for maps in (label, keep, prob.amax(1))
            )
            quality.update(label, keep, confidence, truth)
    return found
