"""Which pseudo-labels are reliable."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.profiler import record_function

from ...functional import (
    IGNORE,
    class_percentile_thresholds,
    entropy_of_logits,
    percentile_threshold,
    upcast,
)
from ..settings import at_most


class Selection(nn.Module):
    """Decides by a measure of each pixel which pseudo-labels are unreliable."""

    of_label: bool = False
    """Whether the measure is about the pseudo-label, so that of aligned labels it is of aligned logits."""

    def measure(self, logits: Tensor) -> Tensor:
        """What is compared with a threshold: teacher logits (B, C, H, W) → (B, H, W)."""
        raise NotImplementedError

    def forward(self, measure: Tensor, label: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Where pseudo-labels are unreliable, and the scalar threshold.

        Args:
            measure: What :meth:`measure` returned (B, H, W).
            label: Pseudo-labels (B, H, W), long, 255 on padding, which is never unreliable.
            progress: Share of the training that is done, in [0, 1].
        """
        raise NotImplementedError


@MODELS.register_module()
class EntropyPercentile(Selection):
    """The α percent of the pixels with the highest entropy are unreliable (U²PL, Eq. 2-3).

    Args:
        percent: α_0, in [0, 100].
        anneal: Whether α falls linearly to 0 over the training, as in the paper.
        per_class: Take α percent of each class instead of all pixels. A class that the teacher is
            unsure of then keeps the better part of its pixels.

    Raises:
        ValueError: ``percent`` outside [0, 100].
    """

    def __init__(self, percent: float = 20.0, anneal: bool = True, per_class: bool = False) -> None:
        super().__init__()
        at_most(100, **{'selection.percent': percent})
        self.percent = percent
        self.anneal = anneal
        self.per_class = per_class

    def measure(self, logits: Tensor) -> Tensor:
        """Entropy, nats."""
        return entropy_of_logits(logits)

    @record_function('semi/selection')
    def forward(self, measure: Tensor, label: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """As in :class:`Selection`; per class, the threshold is the mean of those of the classes."""
        valid = label != IGNORE
        percent = 100 - self.percent * (1 - min(progress, 1.0) if self.anneal else 1)
        if not self.per_class:
            threshold = percentile_threshold(measure, percent, valid)
            return valid & (measure >= threshold), threshold
        thresholds = class_percentile_thresholds(measure, label, percent, IGNORE, IGNORE)
        present = thresholds.isfinite()
        mean = thresholds.masked_fill(~present, 0).sum() / present.sum().clamp(min=1)
        return valid & (measure >= thresholds[label.clamp(max=IGNORE - 1)]), mean


@MODELS.register_module()
class ConfidenceThreshold(Selection):
    """Pixels whose largest probability is below τ are unreliable (FixMatch, UniMatch).

    Args:
        threshold: τ, in [0, 1].

    Raises:
        ValueError: ``threshold`` outside [0, 1].
    """

    of_label = True

    def __init__(self, threshold: float = 0.95) -> None:
        super().__init__()
        at_most(1, **{'selection.threshold': threshold})
        self.threshold = threshold

    def measure(self, logits: Tensor) -> Tensor:
        """The largest probability, the confidence."""
        logits = upcast(logits)
        return (logits.amax(1) - logits.logsumexp(1)).exp()

    def forward(self, measure: Tensor, label: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """As in :class:`Selection`; τ is the same throughout the training."""
        unreliable = (label != IGNORE) & (measure < self.threshold)
        return unreliable, torch.full((), self.threshold, device=measure.device)
