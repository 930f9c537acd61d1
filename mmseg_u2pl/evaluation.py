"""mmseg's IoU with each class's value among the metrics."""

from collections.abc import Sequence

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """``IoUMetric`` that also returns ``IoU.<class>``, percent, for logs and reports.

    mmseg prints the per-class table but returns only the means; which class gains and which is
    lost is what matters with few labels. NaN: the class is in neither truth nor prediction.
    Arguments as in mmseg's ``IoUMetric``.

    ``per_image`` has what the last evaluation counted, in the order of the images: ``paths`` (N,),
    ``intersect`` and ``union``, integer (N, C), pixels of each class.
    """

    per_image: dict[str, np.ndarray] | None = None

    @staticmethod
    def intersect_and_union(
        pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int
    ) -> tuple[Tensor, ...]:
        """Pixels of each class, int64 (C,): intersection, union, prediction, truth.

        mmseg counts in float32, which ends at 2^24, an area of 4096×4096.
        """
        valid = label != ignore_index
        pred_label, label = pred_label[valid].long(), label[valid].long()

        def area(labels: Tensor) -> Tensor:
            return torch.bincount(labels, minlength=num_classes)[:num_classes].cpu()

        intersect, predicted, true = map(area, (pred_label[pred_label == label], pred_label, label))
        return intersect, predicted + true - intersect, predicted, true

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Mmseg's counts of each image, with its path."""
        before = len(self.results)
        super().process(data_batch, data_samples)
        if len(self.results) > before:  # not with format_only
            paths = [str(sample.get('img_path', '')) for sample in data_samples]
            counts = zip(self.results[before:], paths, strict=True)
            self.results[before:] = [(*areas, path) for areas, path in counts]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Mmseg's metrics, then the classes'."""
        metrics = super().compute_metrics([areas for *areas, _ in results])
        if self.format_only:
            return metrics
        intersect, union = (torch.stack([areas[i] for areas in results]).long() for i in (0, 1))
        paths = np.array([path for *_, path in results])
        self.per_image = dict(paths=paths, intersect=intersect.numpy(), union=union.numpy())
        ious = intersect.sum(0) / union.sum(0)
        for name, iou in zip(self.dataset_meta['classes'], ious, strict=True):
            metrics[f'IoU.{name}'] = round(float(iou) * 100, 2)
        return metrics
