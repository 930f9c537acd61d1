"""FixMatch for segmentation: confident labels of a weak view teach a strong view."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.profiler import record_function

from ...functional import IGNORE, pseudo_label_loss
from ..settings import not_negative
from .batch import SemiBatch
from .pseudo_labeling import PseudoLabelSegmentor, mixed


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
        images_l, num_l = batch.images_l, len(batch.images_l)

        # One pass of the network that labels, over the weak view.
        contrasts = self.contrastive is not None
        labeled = images_l if contrasts else images_l[:0]  # L_c alone asks about them
        p_logits, label_rep = self.label_pass(torch.cat((labeled, batch.images_u)), contrasts)
        weak = p_logits[len(labeled) :]
        pseudo = self.label(weak, batch)
        measure = self.measure(self.selection.measure, weak, pseudo.shape[1:])

        # The strong view of mixed images; everything known of them is mixed alike.
        masks = self.mix_masks(pseudo)
        images_u, pseudo, measure = mixed(masks, batch.images_u, pseudo, measure)
        strong = self.data_preprocessor.strong_view(images_u, self.view)
        unreliable, threshold = self.selection(measure, pseudo, self.progress)
        num_valid = (pseudo != IGNORE).sum().clamp(min=1)

        # One forward of the student: BatchNorm sees labeled and unlabeled images.
        with record_function('semi/student'):
            features = self.extract_feat(torch.cat((images_l, strong)))
            logits, rep = self.decode(self, features)
        losses = self.supervised_losses(features, logits[:num_l], batch.samples_l)
        with record_function('semi/unsupervised loss'):
            reliable = pseudo.masked_fill(unreliable, IGNORE)
            loss, _ = pseudo_label_loss(
                logits[num_l:], reliable, IGNORE, align_corners=self.align_corners
            )
        losses['unsup.loss_ce'] = self.unsup_weight * loss / num_valid
        if label_rep is not None:
            p_logits, label_rep = (
                torch.cat((maps[:num_l], *mixed(masks, maps[num_l:])))
                for maps in (p_logits, label_rep)
            )
        losses |= self.contrast(rep, label_rep, p_logits, batch.labels, pseudo, unreliable)
        losses['semi/threshold'] = threshold
        losses['semi/reliable_share'] = 1 - unreliable.sum() / num_valid
        return losses
