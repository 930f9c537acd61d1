"""U²PL: semi-supervised semantic segmentation using unreliable pseudo-labels (CVPR 2022)."""

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.profiler import record_function

from ...functional import IGNORE, reliable_loss
from ..settings import needed, not_negative
from .batch import SemiBatch
from .pseudo_labeling import PseudoLabelSegmentor, mixed


@MODELS.register_module()
class U2PL(PseudoLabelSegmentor):
    """U²PL (Wang et al., arXiv 2203.03884); the default settings are the paper's.

    L = L_s + λ_u·L_u + λ_c·L_c

    Reliable pseudo-labels supervise the student on mixed unlabeled images. Unreliable pixels still
    tell which classes they are *not*: they are negatives of a contrastive loss.

    Args:
        teacher: Settings of ``Teacher``.
        selection: Settings of ``EntropyPercentile``.
        mix: As in :class:`PseudoLabelSegmentor`.
        contrastive: Settings of ``UnreliableContrastiveLoss``; None trains without L_c.
        reverse_weight: Weight of reverse cross-entropy in L_u (U²PL+, arXiv 2306.02314: 0.1).
        **parts: As in :class:`PseudoLabelSegmentor`.

    Raises:
        ValueError: No teacher, or a negative weight.
    """

    teacher_sees_batches = True

    def __init__(
        self,
        *,
        teacher: dict = dict(momentum=0.99, norm='batch'),  # noqa: B006 - read only
        selection: dict = dict(type='EntropyPercentile', percent=20.0),  # noqa: B006
        mix: dict | None = dict(type='CutMix', prob=0.5),  # noqa: B006
        contrastive: dict | None = dict(loss_weight=0.1),  # noqa: B006
        reverse_weight: float = 0.0,
        **parts: Any,
    ) -> None:
        super().__init__(
            teacher=teacher, selection=selection, mix=mix, contrastive=contrastive, **parts
        )
        needed(self, teacher=teacher)
        not_negative(reverse_weight=reverse_weight)
        self.reverse_weight = reverse_weight

    def semi_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """One step (``docs/algorithm.md``)."""
        images_l, num_l = batch.images_l, len(batch.images_l)

        # The teacher labels clean unlabeled images; images and pseudo-labels are mixed.
        clean, _ = self.label_pass(batch.images_u)
        pseudo = self.label(clean, batch)
        images_u, pseudo = mixed(self.mix_masks(pseudo), batch.images_u, pseudo)

        # One forward of the student: BatchNorm sees labeled and mixed images.
        strong = self.data_preprocessor.strong_view(images_u, self.view)
        with record_function('semi/student'):
            features = self.extract_feat(torch.cat((images_l, strong)))
            logits, rep = self.decode(self, features)

        # The teacher's probabilities p and representations z of the same images.
        p_logits, teacher_rep = self._teacher_pass(torch.cat((images_l, images_u)))

        # The α_t percent of highest entropy are unreliable (Eq. 2-3).
        measure = self.measure_of(p_logits[num_l:], pseudo.shape[1:])
        unreliable, threshold = self.selection(measure, pseudo, self.progress)
        reliable = pseudo.masked_fill(unreliable, IGNORE)

        # L_s, λ_u·L_u (Eq. 4) and λ_c·L_c (Eq. 5-11).
        losses = self.supervised_losses(features, logits[:num_l], batch.samples_l)
        with record_function('semi/unsupervised loss'):
            losses['unsup.loss_ce'], weight = reliable_loss(
                logits[num_l:], reliable, IGNORE, self.reverse_weight, self.align_corners
            )
        losses |= self.contrast(rep, teacher_rep, p_logits, batch.labels, pseudo, unreliable)
        losses['semi/threshold'] = threshold
        losses['semi/unsup_weight'] = weight
        num_valid = (pseudo != IGNORE).sum().clamp(min=1)
        losses['semi/reliable_share'] = 1 - unreliable.sum() / num_valid
        return losses

    @record_function('semi/teacher')
    @torch.no_grad()
    def _teacher_pass(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Teacher logits (B, C, h, w) and representations (B, D, h, w) of all images of a step."""
        assert self.teacher is not None
        with self.teacher.batch_statistics(self):
            return self.decode(self.teacher, self.teacher.extract_feat(images))
