"""UniMatch V2: an averaged teacher, and two strong views with complementary channels."""

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.profiler import record_function

from ...functional import complementary_dropout
from .batch import SemiBatch
from .fixmatch import FixMatch


@MODELS.register_module()
class UniMatchV2(FixMatch):
    """UniMatch V2 (Yang et al., TPAMI 2025, arXiv 2410.10777).

    L = L_s + λ_u·½(L_s1 + L_s2), each term Σ CE·1[reliable] / Σ 1[valid]

    The teacher labels the weak view. The student sees two strong views, drawn independently; between
    backbone and decode head, each loses the channels that the other keeps.

    Args:
        teacher: Settings of ``Teacher``; None: the student labels.
        **parts: As in :class:`FixMatch`; ``contrastive`` adds U²PL's L_c on s1.
    """

    student_passes = 2
    labeled_with_unlabeled = False

    def __init__(
        self,
        *,
        teacher: dict | None = dict(momentum=0.996, norm='ema'),  # noqa: B006 - read only
        **parts: Any,
    ) -> None:
        super().__init__(teacher=teacher, **parts)

    def semi_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """One step (``docs/unimatch_v2.md``)."""
        num_u = len(batch.images_u)

        # One pass of the network that labels; two strong views with boxes and colors of their own.
        weak = self.weak_view(batch)
        first = self.strong_view(weak)
        second = self.strong_view(weak._replace(rep=None))  # L_c looks at s1 alone

        # Two forwards of the student: labeled images; s1 and s2, which share the channels.
        with record_function('semi/student'):
            features = self.extract_feat(batch.images_l)
            logits, rep = self.decode(self, features)
            strong = self.extract_feat(torch.cat((first.images, second.images)))
            strong_logits, strong_rep = self.decode(self, complementary_dropout(strong, num_u))

        losses = self.supervised_losses(features, logits, batch.samples_l)
        loss_1, unreliable, watched = self.consistency(strong_logits[:num_u], first)
        loss_2, *_ = self.consistency(strong_logits[num_u:], second)
        losses['unsup.loss_s1'] = self.unsup_weight / 2 * loss_1
        losses['unsup.loss_s2'] = self.unsup_weight / 2 * loss_2

        if rep is not None and strong_rep is not None:  # L_c looks at s1: each pixel counts once
            rep = torch.cat((rep, strong_rep[:num_u]))
        losses |= self.contrast(rep, first.rep, first.logits, batch.labels, first.label, unreliable)
        return losses | watched
