"""mmseg's IoU with each class's value among the metrics."""

from __future__ import annotations

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """``IoUMetric`` that also returns ``IoU.<class>``, percent, for logs and reports.

    mmseg prints the per-class table but returns only the means; which class gains and which is
    lost is what matters with few labels. NaN: the class is in neither truth nor prediction.
    Arguments as in mmseg's ``IoUMetric``.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Mmseg's metrics, then the classes'."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        intersect, union = (sum(areas) for areas in list(zip(*results, strict=True))[:2])
        for name, iou in zip(self.dataset_meta['classes'], intersect / union, strict=True):
            metrics[f'IoU.{name}'] = round(float(iou) * 100, 2)
        return metrics
