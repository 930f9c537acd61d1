"""The recipe for real, unbalanced data: U²PL's pseudo-labels, balanced and under strong views."""

from __future__ import annotations

from typing import Any, Literal

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import align_classes, class_percentile_thresholds
from .semi import IGNORE
from .u2pl import U2PL, nearest


@MODELS.register_module()
class U2PLBalanced(U2PL):
    """:class:`U2PL` for classes of very different size (``docs/when_it_helps.md``).

    * Pseudo-labels are aligned: the teacher's probabilities are scaled so that its arg max gives
      classes as often as the labeled pixels have them (after ReMixMatch, Sec. 3.1, which aligns
      mean probabilities: those of a rare class are mostly pixels where it is not the likeliest, so
      hardly any label would be left of it).
    * Of each class the same percent of pseudo-labels, those of highest entropy, is unreliable, and
      of a class that the network is unsure of throughout the rest is kept. The percent does not
      fall: at the end the paper believes every label.
    * Rare classes weigh more in L_s, by ``ClassWeightsHook``, which also counts the labeled shares;
      it belongs to ``configs/_base_/methods/u2pl_balanced.py``. They do not in L_u: the labels have
      the right shares, and weighing both makes rare classes too many.
    * The student always sees a mixed view, with other colors and another sharpness.
    * The contrastive loss is off, so one teacher pass over clean images, normalised by running
      statistics, says everything.

    Args:
        alignment_momentum: Of the running shares of the classes in the teacher's arg max.
        contrastive: As in :class:`U2PL`.
        mix_prob: As in :class:`U2PL`.
        photometric: As in :class:`U2PL`.
        teacher_passes: As in :class:`U2PL`.
        ema_momentum: As in :class:`U2PL`.
        teacher_norm: As in :class:`U2PL`.
        **u2pl: Everything else, as in :class:`U2PL`.
    """

    class_share: Tensor  # (C,) among the labeled pixels; all zero before training
    predicted_share: Tensor  # (C,) in the teacher's arg max, before alignment; all zero at first

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
        self.register_buffer('class_share', torch.zeros(self.num_classes))
        self.register_buffer('predicted_share', torch.zeros(self.num_classes))

    def set_class_share(self, share: Tensor) -> None:
        """Shares of the labeled pixels (C,), as ``ClassWeightsHook`` counts them."""
        self.class_share.copy_(share)
        if self.predicted_share.sum() == 0:  # not resumed: aligned until there is another word
            self.predicted_share.copy_(share)

    def label_logits(self, low: Tensor) -> Tensor:
        """The teacher's logits (B, C, h, w), aligned."""
        return align_classes(low, self.class_share, self.predicted_share)

    def unreliable(self, pseudo: Tensor, entropy: Tensor) -> tuple[Tensor, Tensor]:
        """As in :class:`U2PL`, α_0 percent of each class; the threshold is the mean of theirs."""
        valid = pseudo != IGNORE
        thresholds = class_percentile_thresholds(
            entropy, pseudo, 100 - self.unreliable_percent, self.num_classes, IGNORE
        )
        own = thresholds[pseudo.masked_fill(~valid, 0)]  # (B, H, W)
        there = thresholds.isfinite()
        mean = thresholds.masked_fill(~there, 0).sum() / there.sum().clamp(min=1)
        return valid & (entropy >= own), mean

    def _pseudo_label(self, low: Tensor, pads: Tensor) -> Tensor:
        """As in :class:`U2PL`; training also tracks what the labels are aligned by."""
        if self.training:
            label = low.argmax(1).masked_fill(nearest(pads, low.shape[2:]) == IGNORE, IGNORE)
            self._track(label)
        return super()._pseudo_label(low, pads)

    def _track(self, label: Tensor) -> None:
        """Update the running shares from the arg max (B, h, w) in all processes; 255 on pads."""
        label = label.masked_fill(label == IGNORE, self.num_classes).flatten()
        count = self.class_share.new_zeros(self.num_classes + 1)
        count.scatter_add_(0, label, torch.ones_like(label, dtype=count.dtype))
        all_reduce(count)
        share = count[:-1] / count[:-1].sum().clamp(min=1)
        self.predicted_share.lerp_(share, 1 - self.alignment_momentum)
