"""Mean Teacher for segmentation: the student learns to predict what its average predicts."""

import math
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.profiler import record_function

from ...functional import nearest, upcast
from ..settings import needed, not_negative, unused
from .batch import PseudoLabels, SemiBatch, View
from .semi import SemiSegmentor


@MODELS.register_module()
class MeanTeacher(SemiSegmentor):
    """Mean Teacher, L = L_s + w(t)·MSE of probabilities (Tarvainen & Valpola, NeurIPS 2017).

    Args:
        teacher: Settings of ``Teacher``.
        view: Settings of ``PhotometricView``: the student's view of unlabeled images. Or None.
        mse_weight: The largest w.
        rampup_iters: Iterations after the warm-up in which w grows to it, by exp(−5·(1 − t)²).
        **semi: As in :class:`SemiSegmentor`.

    Raises:
        ValueError: A negative ``mse_weight`` or ``rampup_iters``; no teacher; a contrastive loss, for
            which no pixel is unreliable here.
    """

    def __init__(
        self,
        *,
        teacher: dict = dict(momentum=0.99),  # noqa: B006 - read only
        view: dict | None = None,
        mse_weight: float = 100.0,
        rampup_iters: int = 0,
        **semi: Any,
    ) -> None:
        super().__init__(teacher=teacher, **semi)
        needed(self, teacher=teacher)
        unused(self, contrastive=self.contrastive)
        not_negative(mse_weight=mse_weight, rampup_iters=rampup_iters)
        self.view = self.build_part(view)
        self.mse_weight = mse_weight
        self.rampup_iters = rampup_iters

    def semi_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """One step."""
        num_l = len(batch.images_l)
        target = self._teacher_prob(batch.images_u)
        strong = self.data_preprocessor.strong_view(batch.images_u, self.view)
        with record_function('semi/student'):
            features = self.extract_feat(torch.cat((batch.images_l, strong)))
            logits, rep = self.decode(self, features)
        losses = self.supervised_losses(features, logits[:num_l], batch.samples_l)
        valid = nearest(batch.valid, target.shape[2:]).unsqueeze(1)
        square = (upcast(logits[num_l:]).softmax(1) - target).square() * valid
        mse = square.sum() / (valid.sum() * target.shape[1]).clamp(min=1)
        ramp = min((self.iteration + 1 - self.warmup_iters) / max(1, self.rampup_iters), 1.0)
        losses['unsup.loss_mse'] = self.mse_weight * math.exp(-5 * (1 - ramp) ** 2) * mse
        return losses | self.contrast(rep)

    @record_function('semi/teacher')
    @torch.no_grad()
    def _teacher_prob(self, images: Tensor) -> Tensor:
        """The teacher's probabilities (B, C, h, w)."""
        teacher = self.labeler()
        return upcast(teacher.decode_head(teacher.extract_feat(images))).softmax(1)

    def pseudo_labels(self, images: Tensor, valid: Tensor) -> dict[str, PseudoLabels]:
        """Every pixel teaches."""
        prob = self.upsample(self._teacher_prob(images), images.shape[2:])
        return dict(teacher=PseudoLabels.of(prob, valid))

    def training_views(self, batch: SemiBatch) -> list[View]:
        """The strong view, where there is one."""
        strong = self.data_preprocessor.strong_view(batch.images_u, self.view)
        return [] if self.view is None else [View('strong view', strong, batch.valid)]
