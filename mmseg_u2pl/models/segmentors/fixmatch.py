"""FixMatch for segmentation: confident labels of a weak view teach a strong view."""

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.profiler import record_function

from ..settings import not_negative
from .batch import SemiBatch
from .pseudo_labeling import PseudoLabelSegmentor


@MODELS.register_module()
class FixMatch(PseudoLabelSegmentor):
    """FixMatch (Sohn et al., NeurIPS 2020), for segmentation as in UniMatch, Sec. 3.1.

    L = L_s + λ_u·Σ CE·1[reliable] / Σ 1[valid]

    The student labels its weak view itself, or the teacher does. One pass of the network that labels
    gives labels, measures and, for a contrastive loss, representations; all are mixed alike.

    Args:
        unsup_weight: λ_u.
        **parts: As in :class:`PseudoLabelSegmentor`; ``contrastive`` adds U²PL's L_c.

    Raises:
        ValueError: A negative ``unsup_weight``.
    """

    def __init__(self, *, unsup_weight: float = 1.0, **parts: Any) -> None:
        super().__init__(**parts)
        not_negative(unsup_weight=unsup_weight)
        self.unsup_weight = unsup_weight

    def semi_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """One step (``docs/fixmatch.md``)."""
        num_l = len(batch.images_l)

        # One pass of the network that labels; the strong view of mixed images.
        strong = self.strong_view(self.weak_view(batch))

        # One forward of the student: BatchNorm sees labeled and unlabeled images.
        with record_function('semi/student'):
            features = self.extract_feat(torch.cat((batch.images_l, strong.images)))
            logits, rep = self.decode(self, features)

        losses = self.supervised_losses(features, logits[:num_l], batch.samples_l)
        loss, unreliable, watched = self.consistency(logits[num_l:], strong)
        losses['unsup.loss_ce'] = self.unsup_weight * loss
        losses |= self.contrast(
            rep, strong.rep, strong.logits, batch.labels, strong.label, unreliable
        )
        return losses | watched
