"""Counts of pseudo-labels against ground truth, and the measures that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..functional import IGNORE


class PseudoLabelQuality:
    """Counts of pseudo-labels against the ground truth; batches are added up.

    *Kept* pseudo-labels teach the student, the *rest* does not. Measures are in [0, 1], and NaN
    where the divisor is 0.

    Args:
        num_classes: C.
        bins: Equal bins of confidence in [0, 1].
    """

    def __init__(self, num_classes: int, bins: int = 15) -> None:
        self.num_classes, self.bins = num_classes, bins
        # (rest and kept, classes of the ground truth, classes of the pseudo-labels)
        self.confusion = torch.zeros((2, num_classes, num_classes), dtype=torch.long)
        self.bin_count = torch.zeros(bins, dtype=torch.long)
        self.bin_correct = torch.zeros(bins, dtype=torch.long)
        self.bin_sum = torch.zeros(bins, dtype=torch.float64)  # of the confidences

    def update(self, label: Tensor, keep: Tensor, confidence: Tensor, truth: Tensor) -> None:
        """Count a batch.

        Args:
            label: Pseudo-labels (B, H, W), long; pixels of 255 are not counted.
            keep: Boolean (B, H, W), False where the pseudo-label does not teach.
            confidence: Largest probability (B, H, W), in [0, 1].
            truth: Ground truth (B, H, W), integer; pixels of 255 are not counted.

        Raises:
            ValueError: ``truth`` holds a class that the model does not have.
        """
        classes = self.num_classes
        counted = (truth != IGNORE) & (label != IGNORE)
        true, pseudo = truth[counted].long(), label[counted].long()
        if true.numel() and int(true.max()) >= classes:
            raise ValueError(
                f'the ground truth holds the label {int(true.max())}, but the model has the '
                f'classes 0 ... {classes - 1} and {IGNORE} means ignore'
            )
        cell = (keep[counted].long() * classes + true) * classes + pseudo
        counts = torch.bincount(cell, minlength=2 * classes**2)
        self.confusion += counts.view(2, classes, classes).cpu()

        sure = confidence[counted].double()
        place = (sure * self.bins).long().clamp(max=self.bins - 1)
        self.bin_count += torch.bincount(place, minlength=self.bins).cpu()
        self.bin_correct += torch.bincount(place[pseudo == true], minlength=self.bins).cpu()
        self.bin_sum += torch.bincount(place, sure, self.bins).cpu()

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

    def calibration(self) -> dict[str, Tensor]:
        """Of each bin (bins,): ``share`` of the pixels in it, and their ``accuracy``."""
        return {
            'share': self.bin_count / self.bin_count.sum(),
            'accuracy': self.bin_correct / self.bin_count,
        }

    def overall(self) -> dict[str, float]:
        """Of all pixels.

        ``accuracy`` of all, of the kept and of the other pseudo-labels, share kept, mIoU, and
        ``ece``, the expected calibration error: mean of |accuracy − confidence| of the bins,
        weighted by their pixels.
        """
        rest, kept = self.confusion.double()
        counts = rest + kept
        calibration_gap = (self.bin_correct - self.bin_sum).abs().sum()
        measures = {
            'accuracy': counts.trace() / counts.sum(),
            'kept_accuracy': kept.trace() / kept.sum(),
            'rest_accuracy': rest.trace() / rest.sum(),
            'share_kept': kept.sum() / counts.sum(),
            'mIoU': self.by_class()['iou'].nanmean(),
            'ece': calibration_gap / self.bin_count.sum(),
        }
        return {name: float(value) for name, value in measures.items()}

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """All numbers for a JSON file; NaN, which JSON does not have, becomes None.

        Args:
            classes: C names.
        """
        by_class = {name: _numbers(values) for name, values in self.by_class().items()}
        return {
            'overall': {k: None if math.isnan(v) else v for k, v in self.overall().items()},
            'classes': {
                title: {name: values[index] for name, values in by_class.items()}
                for index, title in enumerate(classes)
            },
            'calibration': {name: _numbers(values) for name, values in self.calibration().items()},
            'confusion': dict(zip(('rest', 'kept'), self.confusion.tolist(), strict=True)),
        }


def _numbers(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
