"""U²PL: semi-supervised semantic segmentation using unreliable pseudo-labels (CVPR 2022)."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import (
    apply_mix,
    box_masks,
    by_bands,
    class_mix_masks,
    consistency_loss,
    cutmix_boxes,
    entropy_of_logits,
    hard_labels,
    percentile_threshold,
)
from ..teacher import Teacher
from .semi import IGNORE, Network, SemiSegmentor

TeacherView: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]
"""Mixed images (B_u, 3, H, W), ŷ and H of them (B_u, H, W), and of all images the logits
(B, C, h, w) and representations (B, D, h, w)."""


@MODELS.register_module()
class U2PL(SemiSegmentor):
    """L = L_s + λ_u·L_u + λ_c·L_c (Wang et al., arXiv 2203.03884). Defaults are the VOC recipe.

    Reliable pseudo-labels supervise the student on a mixed view of unlabeled images; unreliable
    pixels still tell which classes they are *not* and serve as negatives of a contrastive loss.

    Args:
        representation_head: Branch g on the decode head's feature, built with
            ``in_channels=decode_head.channels``. Not used with ``U2PLHead``, which has its own.
        contrastive: Settings of ``UnreliableContrastiveLoss``; None trains without L_c.
        contrastive_weight: λ_c.
        unreliable_percent: α_0, percent of pixels called unreliable at first, falling to 0.
        mix: Strong view of the unlabeled images: ``'cutmix'``, ``'classmix'``, ``'cutout'`` or
            None.
        mix_prob: Share of steps with a mixed view.
        photometric: Whether the student sees the mixed unlabeled images through
            :func:`~mmseg_u2pl.functional.photometric_view` as well; not in the paper.
        ema_momentum: Largest momentum of the teacher.
        teacher_norm: ``'batch'`` or ``'ema'`` BatchNorm statistics in the teacher, see
            :class:`~mmseg_u2pl.models.teacher.Teacher`.
        teacher_passes: 2: clean images for the pseudo-labels, mixed ones for everything else
            (the paper). 1: clean images once, the outputs mixed like the images.
        reverse_weight: Weight of reverse cross-entropy in L_u (U²PL+: 0.1).
        **semi: As in :class:`SemiSegmentor`.

    Raises:
        ValueError: A setting outside its range, named with its value.
    """

    predictors = ('teacher', 'student')

    def __init__(
        self,
        *,
        representation_head: dict | None = None,
        contrastive: dict | None = {},  # noqa: B006 - read only
        contrastive_weight: float = 0.1,
        unreliable_percent: float = 20.0,
        mix: Literal['cutmix', 'classmix', 'cutout'] | None = 'cutmix',
        mix_prob: float = 0.5,
        photometric: bool = False,
        ema_momentum: float = 0.99,
        teacher_norm: Literal['ema', 'batch'] = 'batch',
        teacher_passes: Literal[1, 2] = 2,
        reverse_weight: float = 0.0,
        **semi: Any,
    ) -> None:
        super().__init__(**semi)
        if mix not in ('cutmix', 'classmix', 'cutout', None):
            raise ValueError(f"mix must be 'cutmix', 'classmix', 'cutout' or None, got {mix!r}")
        if not 0 <= unreliable_percent <= 100:
            raise ValueError(f'unreliable_percent must be in [0, 100], got {unreliable_percent}')
        if not 0 <= mix_prob <= 1:
            raise ValueError(f'mix_prob must be in [0, 1], got {mix_prob}')
        if teacher_passes not in (1, 2):
            raise ValueError(f'teacher_passes must be 1 or 2, got {teacher_passes}')
        self.contrastive_weight = contrastive_weight
        self.unreliable_percent = unreliable_percent
        self.mix = mix
        self.mix_prob = mix_prob
        self.photometric = photometric
        self.teacher_passes = teacher_passes
        self.reverse_weight = reverse_weight
        self.class_counts: dict[str, Tensor] = {}
        self.contrastive = None
        if contrastive is not None:
            channels = self._init_representation(representation_head or {})
            self.contrastive = MODELS.build(
                {
                    'type': 'UnreliableContrastiveLoss',
                    'num_classes': self.num_classes,
                    'channels': channels,
                    **contrastive,
                }
            )
        self.teacher: Teacher = Teacher(self, ema_momentum, teacher_norm)

    def network(self, name: str) -> Network:
        """The teacher, once it exists; else the student."""
        return self.teacher if name == 'teacher' and self.teacher.updates > 0 else self

    def _init_representation(self, settings: dict) -> int:
        """Build branch g unless the decode head has it; returns its channels D."""
        if hasattr(self.decode_head, 'forward_with_representation'):
            return self.decode_head.rep_channels
        self.representation_head = MODELS.build(
            {
                'type': 'RepresentationHead',
                'in_channels': self.decode_head.channels,
                'norm_cfg': self.decode_head.norm_cfg,
                **settings,
            }
        )
        return self.representation_head.out_channels

    def loss(self, inputs: dict[str, Tensor], data_samples: dict[str, list]) -> dict[str, Tensor]:
        """One step (spec in ``docs/algorithm.md``); keys with ``loss`` are summed for backward."""
        images_l, labels, images_u, pads = self.streams(inputs, data_samples)
        samples_l, num_l = data_samples['sup'], len(images_l)

        if self.in_warmup:
            features = self.extract_feat(images_l)
            logits, rep = self.decode(self, features)
            losses = self.supervised_losses(features, logits, samples_l)
            return self._keep_in_graph(losses, rep)

        # teacher: pseudo-labels of the clean unlabeled images; entropy, p and z of the mixed ones
        if self.teacher_passes == 2:
            view = self._two_teacher_passes(images_l, images_u, pads)
        else:
            view = self._one_teacher_pass(images_l, images_u, pads)
        images_u, pseudo, entropy, low, teacher_rep = view

        # student: one forward, so BatchNorm sees both streams
        strong = self.strong_view(images_u) if self.photometric else images_u
        features = self.extract_feat(torch.cat((images_l, strong)))
        logits, rep = self.decode(self, features)
        losses = self.supervised_losses(features, logits[:num_l], samples_l)

        unreliable, threshold = self.unreliable(pseudo, entropy)
        reliable_label = pseudo.masked_fill(unreliable, IGNORE)

        losses['unsup.loss_ce'], unsup_weight = consistency_loss(
            logits[num_l:], reliable_label, IGNORE, self.reverse_weight, self.align_corners
        )
        losses['semi/threshold'] = threshold
        valid = (pseudo != IGNORE).sum().clamp(min=1)
        losses['semi/reliable_share'] = 1 - unreliable.sum() / valid
        losses['semi/unsup_weight'] = unsup_weight

        if self.contrastive is None:
            return self._keep_in_graph(losses, rep)
        assert rep is not None
        assert teacher_rep is not None
        size = rep.shape[2:]
        contrastive_loss, self.class_counts = self.contrastive(
            rep,
            teacher_rep,
            self._probability(low, size),
            torch.cat((nearest(labels, size), nearest(reliable_label, size))),
            nearest(unreliable, size),
            num_l,
        )
        losses['contrast.loss_nce'] = self.contrastive_weight * contrastive_loss
        losses['semi/bank_fill'] = self.contrastive.bank.fill()
        return losses

    def pseudo_labels(self, images: Tensor, pads: Tensor) -> tuple[Tensor, Tensor]:
        """ŷ (B, H, W) of clean images (B, 3, H, W), 255 on pads, and the logits (B, C, h, w)."""
        low, _ = self._teach(images, batch_statistics=False, representation=False)
        return self._pseudo_label(low, pads), low

    def label_logits(self, low: Tensor) -> Tensor:
        """What ŷ is the arg max of, from the teacher's logits (B, C, h, w): the paper's are these."""
        return low

    def unreliable(self, pseudo: Tensor, entropy: Tensor) -> tuple[Tensor, Tensor]:
        """Where ŷ is not believed: the α_t percent of highest entropy (Eq. 2-3).

        Args:
            pseudo: ŷ (B, H, W), 255 on pads.
            entropy: H (B, H, W), nats.

        Returns:
            Boolean (B, H, W), False on pads, and the scalar threshold γ_t.
        """
        valid = pseudo != IGNORE
        alpha = self.unreliable_percent * (1 - min(self.progress, 1.0))
        threshold = percentile_threshold(entropy, 100 - alpha, valid)
        return valid & (entropy >= threshold), threshold

    @staticmethod
    def _keep_in_graph(losses: dict[str, Tensor], rep: Tensor | None) -> dict[str, Tensor]:
        """Add 0 · z where L_c is not computed: DDP hangs on a branch that has no gradient."""
        if rep is not None:
            losses['contrast.loss_nce'] = 0.0 * rep.sum()
        return losses

    def _two_teacher_passes(self, images_l: Tensor, images_u: Tensor, pads: Tensor) -> TeacherView:
        """The paper's: clean images for ŷ, then labeled and mixed images for everything else."""
        pseudo, _ = self.pseudo_labels(images_u, pads)
        images_u, pseudo, _ = self._mix(images_u, pseudo)
        low, teacher_rep = self._teach(torch.cat((images_l, images_u)))
        return images_u, pseudo, self._entropy(low[len(images_l) :], images_u), low, teacher_rep

    def _one_teacher_pass(self, images_l: Tensor, images_u: Tensor, pads: Tensor) -> TeacherView:
        """B_u forwards fewer: clean images once, the outputs mixed by the images' own masks."""
        num_l = 0 if self.contrastive is None else len(images_l)  # L_c alone asks about them
        low, teacher_rep = self._teach(torch.cat((images_l[:num_l], images_u)))
        pseudo = self._pseudo_label(low[num_l:], pads)
        entropy = self._entropy(low[num_l:], images_u)
        images_u, pseudo, masks = self._mix(images_u, pseudo)
        if masks is None or self.mix == 'cutout':  # what is cut out is ignored anyway
            return images_u, pseudo, entropy, low, teacher_rep

        def mix_unlabeled(maps: Tensor) -> Tensor:
            mixed = apply_mix(nearest(masks, maps.shape[2:]), maps[num_l:])
            return torch.cat((maps[:num_l], *mixed))

        (entropy,) = apply_mix(masks, entropy)
        teacher_rep = None if teacher_rep is None else mix_unlabeled(teacher_rep)
        return images_u, pseudo, entropy, mix_unlabeled(low), teacher_rep

    @torch.no_grad()
    def _teach(
        self, images: Tensor, batch_statistics: bool = True, representation: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Teacher logits (B, C, h, w) and representations (B, D, h, w) of images (B, 3, H, W).

        ``batch_statistics`` is what ``teacher_norm='batch'`` does where the paper's step sees
        all images; pseudo-labels of clean images always come from running statistics, and need no
        ``representation``.
        """
        self.teacher.batch_statistics(batch_statistics)
        features = self.teacher.extract_feat(images)
        if not representation:
            return self.teacher.decode_head(features), None
        return self.decode(self.teacher, features)

    def _pseudo_label(self, low: Tensor, pads: Tensor) -> Tensor:
        """ŷ (B_u, H, W) from logits (B_u, C, h, w); 255 on pads."""
        label = hard_labels(self.label_logits(low), pads.shape[1:], self.align_corners)
        return label.masked_fill(pads == IGNORE, IGNORE)

    def _entropy(self, low: Tensor, images: Tensor) -> Tensor:
        """H (B_u, H, W) from logits (B_u, C, h, w)."""
        return by_bands(entropy_of_logits, low, images.shape[2:], self.align_corners)

    def _probability(self, low: Tensor, size: torch.Size) -> Tensor:
        """P at the representation's resolution; from the logits' own where the two agree."""
        low = low.float()
        return (low if low.shape[2:] == size else self.upsample(low, size)).softmax(1)

    def _mix(self, images: Tensor, pseudo: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The strong view: images, pseudo-labels and the masks (B_u, H, W) it was made with."""
        if self.mix is None or torch.rand(()) >= self.mix_prob:
            return images, pseudo, None
        if self.mix == 'classmix':
            masks = class_mix_masks(pseudo, self.num_classes, IGNORE)
        else:
            boxes = cutmix_boxes(len(images), *images.shape[2:])
            masks = box_masks(boxes.to(images.device, non_blocking=True), *images.shape[2:])
        if self.mix == 'cutout':
            return images.masked_fill(masks[:, None], 0), pseudo.masked_fill(masks, IGNORE), masks
        mixed, mixed_pseudo = apply_mix(masks, images, pseudo)
        return mixed, mixed_pseudo, masks


def nearest(maps: Tensor, size: torch.Size) -> Tensor:
    """Nearest sampling of (B, H, W) maps of any dtype to (B, h, w)."""
    height, width = maps.shape[1:]
    rows = torch.arange(size[0], device=maps.device) * height // size[0]
    columns = torch.arange(size[1], device=maps.device) * width // size[1]
    return maps[:, rows[:, None], columns]
