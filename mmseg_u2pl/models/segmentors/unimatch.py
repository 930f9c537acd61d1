"""UniMatch: a weak view teaches two strong views and its own features without half their channels."""

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.profiler import record_function

from ...functional import channel_dropout
from ..settings import at_most, below_one
from .batch import SemiBatch
from .fixmatch import FixMatch


@MODELS.register_module()
class UniMatch(FixMatch):
    """UniMatch (Yang et al., CVPR 2023, arXiv 2208.09910).

    L = L_s + λ_u·[(1 − φ)·½(L_s1 + L_s2) + φ·L_fp], each term Σ CE·1[reliable] / Σ 1[valid]

    The student labels its weak view w itself, or the teacher does. s1 and s2 are strong views of w,
    drawn independently; fp is w with channel dropout between backbone and decode head.

    Args:
        feature_share: φ, the share of the feature perturbation in the unsupervised loss.
        feature_dropout: Probability that a channel of w's features is dropped.
        **parts: As in :class:`FixMatch`; ``contrastive`` adds U²PL's L_c on s1.

    Raises:
        ValueError: A setting outside its range.
    """

    student_passes = 2

    def __init__(
        self, *, feature_share: float = 0.5, feature_dropout: float = 0.5, **parts: Any
    ) -> None:
        super().__init__(**parts)
        at_most(1, feature_share=feature_share)
        below_one(feature_dropout=feature_dropout)
        self.feature_share = feature_share
        self.feature_dropout = feature_dropout

    def semi_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """One step (``docs/unimatch.md``)."""
        num_l, num_u = len(batch.images_l), len(batch.images_u)

        # One pass of the network that labels; two strong views with boxes and colors of their own.
        weak = self.weak_view(batch)
        first = self.strong_view(weak)
        second = self.strong_view(weak._replace(rep=None))  # L_c looks at s1 alone

        # Two forwards of the student: labeled images and w, which loses channels; s1 and s2.
        with record_function('semi/student'):
            features = self.extract_feat(torch.cat((batch.images_l, weak.images)))
            perturbed = channel_dropout(features, self.feature_dropout, num_whole=num_l)
            logits, rep = self.decode(self, perturbed)
            strong = self.extract_feat(torch.cat((first.images, second.images)))
            strong_logits, strong_rep = self.decode(self, strong)

        losses = self.supervised_losses(features, logits[:num_l], batch.samples_l)
        loss_1, unreliable, watched = self.consistency(strong_logits[:num_u], first)
        loss_2, *_ = self.consistency(strong_logits[num_u:], second)
        loss_fp, *_ = self.consistency(logits[num_l:], weak)
        share = self.feature_share
        losses['unsup.loss_s1'] = self.unsup_weight * (1 - share) / 2 * loss_1
        losses['unsup.loss_s2'] = self.unsup_weight * (1 - share) / 2 * loss_2
        losses['unsup.loss_fp'] = self.unsup_weight * share * loss_fp

        if rep is not None and strong_rep is not None:  # L_c looks at s1: each pixel counts once
            rep = torch.cat((rep[:num_l], strong_rep[:num_u]))
        losses |= self.contrast(rep, first.rep, first.logits, batch.labels, first.label, unreliable)
        return losses | watched
