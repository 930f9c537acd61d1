"""Compare the pseudo-labels of any method with the ground truth of the unlabeled images.

A diagnosis: nothing in training reads these masks.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..functional import IGNORE, nearest
from ..models import SemiSegmentor


class PseudoLabelQuality:
    """Counts of pseudo-labels against the ground truth; batches are added up.

    *Kept* pseudo-labels teach the student, the *rest* does not. Measures are in [0, 1], and NaN
    where the divisor is 0.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        # (rest and kept, classes of the ground truth, classes of the pseudo-labels)
        self.confusion = torch.zeros((2, num_classes, num_classes), dtype=torch.long)

    def update(self, label: Tensor, keep: Tensor, truth: Tensor) -> None:
        """Count a batch.

        Args:
            label: Pseudo-labels (B, H, W), long; pixels of 255 are not counted.
            keep: Boolean (B, H, W), False where the pseudo-label does not teach.
            truth: Ground truth (B, H, W), integer; pixels of 255 are not counted.

        Raises:
            ValueError: ``truth`` holds a class that the model does not have.
        """
        classes = self.confusion.shape[1]
        counted = (truth != IGNORE) & (label != IGNORE)
        true, pseudo = truth[counted].long(), label[counted].long()
        if (true >= classes).any():
            raise ValueError(
                f'the ground truth holds the label {int(true.max())}, but the model has the '
                f'classes 0 ... {classes - 1} and {IGNORE} means ignore'
            )
        cell = (keep[counted].long() * classes + true) * classes + pseudo
        counts = torch.bincount(cell, minlength=2 * classes**2)
        self.confusion += counts.view(2, classes, classes).cpu()

    def by_class(self) -> dict[str, Tensor]:
        """Measures of each class, float64 (C,).

        Shares of the class among the pixels by ground truth, among all and among the kept
        pseudo-labels; precision of all, of the kept and of the other pseudo-labels; recall and IoU
        of all. ``kept_recall`` is the share of the class's pixels that are labeled right and kept.
        """
        rest, kept = self.confusion.double()
        counts = rest + kept
        right, true, pseudo = counts.diag(), counts.sum(1), counts.sum(0)
        return {
            'truth_share': true / counts.sum(),
            'pseudo_share': pseudo / counts.sum(),
            'kept_share': kept.sum(0) / kept.sum(),
            'precision': right / pseudo,
            'kept_precision': kept.diag() / kept.sum(0),
            'rest_precision': rest.diag() / rest.sum(0),
            'recall': right / true,
            'kept_recall': kept.diag() / true,
            'iou': right / (true + pseudo - right),
        }

    def overall(self) -> dict[str, float]:
        """Of all pixels: accuracy of all, of the kept and of the other pseudo-labels, share kept, mIoU."""
        rest, kept = self.confusion.double()
        counts = rest + kept
        measures = {
            'accuracy': counts.trace() / counts.sum(),
            'share_kept': kept.sum() / counts.sum(),
            'kept_accuracy': kept.trace() / kept.sum(),
            'rest_accuracy': rest.trace() / rest.sum(),
            'mIoU': self.by_class()['iou'].nanmean(),
        }
        return {name: float(value) for name, value in measures.items()}

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """All numbers for a JSON file; NaN, which JSON does not have, becomes None.

        Args:
            classes: C names.
        """
        by_class = {name: _numbers(values) for name, values in self.by_class().items()}
        overall = self.overall()
        return {
            'overall': dict(zip(overall, _numbers(overall.values()), strict=True)),
            'classes': {
                title: {name: values[index] for name, values in by_class.items()}
                for index, title in enumerate(classes)
            },
            'confusion': dict(zip(('rest', 'kept'), self.confusion.tolist(), strict=True)),
        }


def _numbers(values: Iterable[Any]) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in values]


class Measurement(NamedTuple):
    """The pseudo-labels of one network in one checkpoint."""

    checkpoint: str  # file name
    iteration: int
    network: str
    quality: PseudoLabelQuality


def place_in_training(
    model: Any, checkpoint: dict, path: str | Path, cfg: Mapping[str, Any]
) -> int:
    """Put a method where training stood when its checkpoint was saved.

    Args:
        model: With the weights; afterwards in evaluation mode.
        checkpoint: All that the file holds.
        path: ``iter_*.pth``, for messages.
        cfg: Of the training, with ``train_cfg.max_iters``; read if the model is a method.

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
    iteration = checkpoint.get('meta', {}).get('iter')
    if iteration is None:
        raise ValueError(f'{path} does not say at which iteration it was saved (meta.iter)')
    model.before_iter(iteration, cfg['train_cfg']['max_iters'])
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
        model: After :func:`place_in_training`.
        groups: Samples of equal size, from :func:`batches`.

    Returns:
        The counts over all groups, by the name of the network that labels.
    """
    found: dict[str, PseudoLabelQuality] = {}
    for group in groups:
        truth = torch.cat([sample['data_samples'].gt_sem_seg.data for sample in group])
        for name, (*maps, _) in model.label_samples(group)[1].items():
            quality = found.setdefault(name, PseudoLabelQuality(model.num_classes))
            label, keep = (nearest(m, truth.shape[1:]).cpu() for m in maps)
            quality.update(label, keep, truth)
    return found
