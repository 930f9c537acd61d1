"""Are the pseudo-labels right, and which classes do they erase? Measured against hidden masks.

A diagnosis only: nothing in training reads these masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS
from torch import Tensor

from .datasets.checks import check_files, infos
from .functional import entropy_map
from .models.segmentors.semi import IGNORE, SemiSegmentor


class PseudoLabelQuality:
    """Counts of pseudo-labels against true labels; images stream through, counts stay.

    Shares, precision, recall and IoU are float64 (C,) in [0, 1], NaN where a class has nothing
    to divide by. ``kept`` is what is called reliable and so teaches the student.

    Args:
        num_classes: C.
        bins: Equal bins of confidence in [0, 1].
    """

    def __init__(self, num_classes: int, bins: int = 15) -> None:
        self.num_classes, self.bins = num_classes, bins
        # dropped and kept; rows are true classes, columns pseudo-labels
        self.confusion = torch.zeros((2, num_classes, num_classes), dtype=torch.long)
        self.bin_count = torch.zeros(bins, dtype=torch.long)
        self.bin_correct = torch.zeros(bins, dtype=torch.long)
        self.bin_sum = torch.zeros(bins, dtype=torch.float64)  # of the confidences

    def update(self, label: Tensor, kept: Tensor, prob: Tensor, mask: Tensor) -> None:
        """Count a batch.

        Args:
            label: Pseudo-labels (B, H, W), long; pixels of 255 count nowhere.
            kept: Boolean (B, H, W), whether the pseudo-label is believed.
            prob: The teacher's probabilities (B, C, H, W).
            mask: True labels (B, H, W), integer; pixels of 255 count nowhere.

        Raises:
            ValueError: ``mask`` holds a class that the model does not have.
        """
        classes = self.num_classes
        valid = (mask != IGNORE) & (label != IGNORE)
        truth, pseudo = mask[valid].long(), label[valid].long()
        if truth.numel() and int(truth.max()) >= classes:
            raise ValueError(
                f'a hidden mask holds the label {int(truth.max())}, but the model has the classes '
                f'0 ... {classes - 1} and {IGNORE} means ignore'
            )
        cell = (kept[valid].long() * classes + truth) * classes + pseudo
        counts = torch.bincount(cell, minlength=2 * classes**2)
        self.confusion += counts.view(2, classes, classes).cpu()

        confidence = prob.amax(1)[valid].double()
        place = (confidence * self.bins).long().clamp(max=self.bins - 1)
        self.bin_count += torch.bincount(place, minlength=self.bins).cpu()
        self.bin_correct += torch.bincount(place[pseudo == truth], minlength=self.bins).cpu()
        self.bin_sum += torch.bincount(place, confidence, self.bins).cpu()

    # ---------------------------------------------------------------- classes
    @property
    def truth_share(self) -> Tensor:
        """Share of the pixels that truly are each class."""
        return self._all.sum(1) / self._all.sum()

    @property
    def pseudo_share(self) -> Tensor:
        """Share of all pseudo-labels that are each class."""
        return self._all.sum(0) / self._all.sum()

    @property
    def kept_share(self) -> Tensor:
        """Share of the kept pseudo-labels that are each class."""
        return self._kept.sum(0) / self._kept.sum()

    @property
    def precision(self) -> Tensor:
        """Share of the pseudo-labels of each class that are right."""
        return self._all.diag() / self._all.sum(0)

    @property
    def recall(self) -> Tensor:
        """Share of the true pixels of each class whose pseudo-label is right."""
        return self._all.diag() / self._all.sum(1)

    @property
    def kept_precision(self) -> Tensor:
        """Share of the kept pseudo-labels of each class that are right."""
        return self._kept.diag() / self._kept.sum(0)

    @property
    def kept_recall(self) -> Tensor:
        """Share of all true pixels of each class whose pseudo-label is right and kept."""
        return self._kept.diag() / self._all.sum(1)

    @property
    def iou(self) -> Tensor:
        """Intersection over union of all pseudo-labels with the truth."""
        right = self._all.diag()
        return right / (self._all.sum(0) + self._all.sum(1) - right)

    # ---------------------------------------------------------------- calibration
    @property
    def bin_share(self) -> Tensor:
        """Share of the pixels in each bin of confidence, (bins,)."""
        return self.bin_count / self.bin_count.sum()

    @property
    def bin_accuracy(self) -> Tensor:
        """Share of right pseudo-labels in each bin of confidence, (bins,); NaN in empty ones."""
        return self.bin_correct.double() / self.bin_count

    @property
    def bin_confidence(self) -> Tensor:
        """Mean confidence in each bin, (bins,); NaN in empty ones."""
        return self.bin_sum / self.bin_count

    @property
    def ece(self) -> float:
        """Expected calibration error: mean of |accuracy − confidence| of the bins, by pixels."""
        return float((self.bin_correct - self.bin_sum).abs().sum() / self.bin_count.sum())

    # ---------------------------------------------------------------- everything
    def overall(self) -> dict[str, float]:
        """Pixel accuracy of all, kept and dropped pseudo-labels, share kept, mIoU and ECE."""
        dropped, kept = self.confusion.double()
        return {
            'accuracy': float(self._all.trace() / self._all.sum()),
            'kept_accuracy': float(kept.trace() / kept.sum()),
            'dropped_accuracy': float(dropped.trace() / dropped.sum()),
            'share_kept': float(kept.sum() / self._all.sum()),
            'mIoU': float(self.iou.nanmean()),
            'ece': self.ece,
        }

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """All numbers for a JSON file; NaN, which JSON does not have, becomes None.

        Args:
            classes: C names.
        """
        names = (
            'truth_share', 'pseudo_share', 'kept_share', 'precision', 'recall',
            'kept_precision', 'kept_recall', 'iou',
        )  # fmt: skip
        columns = {name: getattr(self, name).tolist() for name in names}
        bins = {
            name: _without_nan(getattr(self, f'bin_{name}').tolist())
            for name in ('share', 'accuracy', 'confidence')
        }
        overall = self.overall()
        return {
            'overall': dict(zip(overall, _without_nan(overall.values()), strict=True)),
            'classes': {
                label: dict(zip(names, _without_nan(values), strict=True))
                for label, *values in zip(classes, *columns.values(), strict=True)
            },
            'calibration': bins,
            'confusion': dict(zip(('dropped', 'kept'), self.confusion.tolist(), strict=True)),
        }

    @property
    def _all(self) -> Tensor:
        return self.confusion.sum(0).double()

    @property
    def _kept(self) -> Tensor:
        return self.confusion[1].double()


class Measurement(NamedTuple):
    """What one checkpoint's pseudo-labels are worth."""

    name: str  # file name of the checkpoint
    iteration: int
    quality: PseudoLabelQuality
    bank: list[int] | None  # keys stored of each class; None without a contrastive loss


def hidden_mask_dataset(cfg: Config, masks: str) -> Any:
    """The unlabeled images with their hidden masks, through the test pipeline.

    Args:
        cfg: A training config of this project.
        masks: Folder of the masks, below the unlabeled data set's ``data_root``.

    Returns:
        A data set of the labeled part's class.

    Raises:
        FileNotFoundError: No such folder, or an image has no mask in it.
        ValueError: The config has no unlabeled images.
    """
    parts = cfg.train_dataloader.dataset
    if 'unlabeled' not in parts:
        raise ValueError(
            'train_dataloader.dataset has no unlabeled images: give a config of configs/u2pl'
        )
    unlabeled = parts.unlabeled
    root = unlabeled.get('data_root') or ''
    folder = Path(root, masks)
    if not folder.is_dir():
        raise FileNotFoundError(
            f'--masks {masks}: no folder {str(folder)!r}. It holds the masks of the unlabeled '
            f'images and is given relative to their data_root, {root!r}'
        )
    images = unlabeled.data_prefix['img_path']
    dataset = DATASETS.build(
        {
            **parts.labeled,
            'data_root': root,
            'data_prefix': dict(img_path=images, seg_map_path=masks),
            'ann_file': unlabeled.get('ann_file') or '',
            'pipeline': cfg.test_dataloader.dataset.pipeline,
        }
    )
    check_files(dataset, f'--masks {masks}')
    if unlabeled.get('without'):  # no list names them
        unlabeled_images = {info['img_path'] for info in infos(DATASETS.build(unlabeled))}
        paths = [info['img_path'] for info in infos(dataset)]
        dataset.get_subset_([i for i, path in enumerate(paths) if path in unlabeled_images])
    return dataset


def evenly_spaced(total: int, num: int) -> list[int]:
    """``num`` indices spread over 0 ... ``total`` − 1; all of them if ``num`` is 0 or too many."""
    if num <= 0 or num >= total:
        return list(range(total))
    return [index * total // num for index in range(num)]


def batches(dataset: Any, indices: Iterable[int], size: int) -> Iterator[list[dict]]:
    """Samples in groups of at most ``size``; neighbours of another size start a new group."""
    group: list[dict] = []
    for index in indices:
        sample = dataset[index]
        if group and (len(group) == size or _sizes(sample) != _sizes(group[0])):
            yield group
            group = []
        group.append(sample)
    if group:
        yield group


def load_at_iteration(model: SemiSegmentor, path: str | Path) -> int:
    """Load a checkpoint; the iteration at which it was saved.

    Raises:
        ValueError: It does not say at which.
    """
    checkpoint = load_checkpoint(model, str(path), map_location='cpu', strict=True)
    iteration = checkpoint.get('meta', {}).get('iter')
    if iteration is None:
        raise ValueError(f'{path} does not say at which iteration it was saved (meta.iter)')
    return iteration


def load_teacher(model: SemiSegmentor, path: str | Path, max_iters: int) -> int:
    """Load a checkpoint and set the model's progress to where it was saved.

    Args:
        model: As its config builds it.
        path: ``iter_*.pth``.
        max_iters: T, iterations of the whole training.

    Returns:
        The iteration of the checkpoint.

    Raises:
        ValueError: The model has no pseudo-labels, the checkpoint has no teacher yet, or it does
            not say at which iteration it was saved.
    """
    if not hasattr(model, 'pseudo_labels'):
        raise ValueError(
            f"{type(model).__name__} makes no pseudo-labels: give a config with model.type='U2PL'"
        )
    iteration = load_at_iteration(model, path)
    if model.teacher.updates == 0:
        raise ValueError(
            f'{path} was saved during the warm-up, at iteration {iteration} of '
            f'{model.warmup_iters}: there is no teacher yet, so there are no pseudo-labels'
        )
    model.set_progress(iteration, max_iters)
    model.eval()
    return iteration


@torch.no_grad()
def measure(model: SemiSegmentor, groups: Iterable[list[dict]]) -> PseudoLabelQuality:
    """Compare the teacher's pseudo-labels of clean images with their masks.

    Like a prediction of mmseg, logits are upsampled to the mask's size: masks never change.
    As in training, the threshold is a percentile over all pixels of a group, void ones too.

    Args:
        model: A U²PL, loaded by :func:`load_teacher`.
        groups: Samples of equal size, from :func:`batches`.

    Returns:
        The counts over all groups.
    """
    quality = PseudoLabelQuality(model.num_classes)
    for group in groups:
        data = {key: [sample[key] for sample in group] for key in ('inputs', 'data_samples')}
        height, width = data['inputs'][0].shape[1:]
        data = model.data_preprocessor(data, False)
        images = data['inputs']
        mask = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
        # pads, if the preprocessor's test_cfg asks for any, are at the right and the bottom
        pads = torch.full_like(images[:, 0], IGNORE, dtype=torch.long)
        pads[:, :height, :width] = 0
        _, low = model.pseudo_labels(images, pads)
        prob, label = (
            model.upsample(logits.float(), images.shape[2:])[..., :height, :width]
            for logits in (low, model.label_logits(low))
        )
        prob = model.upsample(prob, mask.shape[1:]).softmax(1)
        label = model.upsample(label, mask.shape[1:]).argmax(1)
        unreliable, _ = model.unreliable(label, entropy_map(prob))
        quality.update(label, ~unreliable, prob, mask)
    return quality


def bank_count(model: SemiSegmentor) -> list[int] | None:
    """Keys stored of each class, (C,); None without a contrastive loss."""
    contrastive = getattr(model, 'contrastive', None)
    return None if contrastive is None else contrastive.bank.count.tolist()


def _sizes(sample: dict) -> tuple:
    """Size of the image and of the mask."""
    return sample['inputs'].shape, sample['data_samples'].gt_sem_seg.shape


def _without_nan(values: Iterable[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]
