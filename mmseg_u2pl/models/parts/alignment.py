"""Pseudo-labels in which classes are as frequent as in the labels."""

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import IGNORE, align_classes, nearest, widest
from ..settings import below_one

PRIOR_PIXELS = 1e4
"""A small crop: without it, a class that the first labels lack could not be a pseudo-label."""


@MODELS.register_module()
class ClassAlignment(nn.Module):
    """Scale the teacher's probabilities so that its arg max gives classes their labeled shares.

    After ReMixMatch (ICLR 2020), Sec. 3.1, which aligns mean probabilities; here the arg max is
    aligned, at most tenfold, so that labels of rare classes are left.

    Args:
        num_classes: C.
        momentum: Of the running shares of the classes in the teacher's arg max, in [0, 1).

    Raises:
        ValueError: ``momentum`` outside [0, 1).
    """

    label_count: Tensor  # (C,) labeled pixels seen
    predicted_share: Tensor  # (C,) in the teacher's arg max, before alignment; all zero at first

    def __init__(self, num_classes: int, momentum: float = 0.98) -> None:
        super().__init__()
        below_one(**{'alignment.momentum': momentum})
        self.momentum = momentum
        self.register_buffer('label_count', torch.zeros(num_classes, dtype=torch.long))
        self.register_buffer('predicted_share', torch.zeros(num_classes))

    def restart(self) -> None:
        """Forget the shares of another run."""
        self.label_count.zero_()
        self.predicted_share.zero_()

    @property
    def label_share(self) -> Tensor:
        """Shares of the labeled pixels seen (C,), and of ``PRIOR_PIXELS`` more of all classes."""
        count = self.label_count.to(widest(self.label_count))
        count = count + PRIOR_PIXELS / len(count)
        return (count / count.sum()).float()

    @torch.no_grad()
    def observe_labels(self, label: Tensor) -> None:
        """Count labels (B, H, W), 255 where none is, of all processes."""
        self.label_count.add_(self._count(label))

    @torch.no_grad()
    def observe_predictions(self, label: Tensor, valid: Tensor) -> None:
        """Update the running shares by the teacher's arg max (B, h, w), where (B, H, W) is valid."""
        padding = ~nearest(valid, label.shape[1:])
        count = self._count(label.masked_fill(padding, IGNORE)).to(widest(label))
        share = (count / count.sum().clamp(min=1)).float()
        first = self.predicted_share.sum() == 0
        before = torch.where(first, self.label_share, self.predicted_share)
        self.predicted_share.copy_(before.lerp(share, 1 - self.momentum))

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (B, C, ...) → aligned logits, float32 or better."""
        return align_classes(logits, self.label_share, self.predicted_share)

    def _count(self, label: Tensor) -> Tensor:
        """Pixels of each class (C,), long, in all processes."""
        num_classes = len(self.label_count)
        label = label.masked_fill(label == IGNORE, num_classes).flatten()
        count = self.label_count.new_zeros(num_classes + 1)
        count.scatter_add_(0, label, torch.ones_like(label))
        all_reduce(count)
        return count[:-1]
