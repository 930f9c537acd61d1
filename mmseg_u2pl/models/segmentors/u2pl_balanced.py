"""The recipe for real, unbalanced data: U²PL's pseudo-labels, balanced and under strong views."""

from __future__ import annotations

from typing import Any, Literal

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import align_classes
from .semi import IGNORE
from .u2pl import U2PL, nearest


@MODELS.register_module()
class U2PLBalanced(U2PL):
    """:class:`U2PL` for classes of very different size (``docs/when_it_helps.md``).

    * Pseudo-labels are aligned: the teacher's probabilities are scaled so that on the whole
      classes are as frequent as among the labeled pixels (ReMixMatch, Sec. 3.1).
    * L_u weighs classes as L_s does. ``ClassWeightsHook`` sets weights and shares, and belongs to
      ``configs/_base_/methods/u2pl_balanced.py``.
    * The student always sees a mixed view, with other colors and another sharpness.
    * The contrastive loss is off, so one teacher pass over clean images, normalised by running
      statistics, says everything.

    Args:
        alignment_momentum: Of the running mean of the teacher's probabilities.
        contrastive: As in :class:`U2PL`.
        mix_prob: As in :class:`U2PL`.
        photometric: As in :class:`U2PL`.
        teacher_passes: As in :class:`U2PL`.
        ema_momentum: As in :class:`U2PL`.
        teacher_norm: As in :class:`U2PL`.
        **u2pl: Everything else, as in :class:`U2PL`.
    """

    class_weight: Tensor  # (C,) in L_u
    class_share: Tensor  # (C,) among the labeled pixels; all zero before training
    mean_prob: Tensor  # (C,) of the teacher on unlabeled pixels; all zero at first

    def __init__(
        self,
        *,
        alignment_momentum: float = 0.98,
        contrastive: dict | None = None,
        mix_prob: float = 1.0,
        photometric: bool = True,
        teacher_passes: Literal[1, 2] = 1,
        ema_momentum: float = 0.95,
        teacher_norm: Literal['ema', 'batch'] = 'ema',
        **u2pl: Any,
    ) -> None:
        super().__init__(
            contrastive=contrastive,
            mix_prob=mix_prob,
            photometric=photometric,
            teacher_passes=teacher_passes,
            ema_momentum=ema_momentum,
            teacher_norm=teacher_norm,
            **u2pl,
        )
        if not 0 <= alignment_momentum < 1:
            raise ValueError(f'alignment_momentum must be in [0, 1), got {alignment_momentum}')
        self.alignment_momentum = alignment_momentum
        self.register_buffer('class_weight', torch.ones(self.num_classes))
        self.register_buffer('class_share', torch.zeros(self.num_classes))
        self.register_buffer('mean_prob', torch.zeros(self.num_classes))

    def set_class_balance(self, share: Tensor, weight: Tensor) -> None:
        """What ``ClassWeightsHook`` found: shares of the labeled pixels and weights, (C,) each."""
        self.class_share.copy_(share)
        self.class_weight.copy_(weight)

    def label_logits(self, low: Tensor) -> Tensor:
        """The teacher's logits (B, C, h, w), aligned."""
        return align_classes(low, self.class_share, self.mean_prob)

    def _pseudo_label(self, low: Tensor, pads: Tensor) -> Tensor:
        """As in :class:`U2PL`; training also tracks what the labels are aligned by."""
        if self.training:
            self._track(low.float().softmax(1), nearest(pads, low.shape[2:]) != IGNORE)
        return super()._pseudo_label(low, pads)

    def _track(self, prob: Tensor, valid: Tensor) -> None:
        """Update the running mean of p (B, C, h, w) over valid pixels (B, h, w), of all processes."""
        sums = torch.cat(((prob * valid[:, None]).sum((0, 2, 3)), valid.sum()[None]))
        all_reduce(sums)
        mean = sums[:-1] / sums[-1].clamp(min=1)
        first = self.mean_prob.sum() == 0
        self.mean_prob.lerp_(mean, torch.where(first, 1.0, 1 - self.alignment_momentum))
