"""RRN: semi-supervised semantic segmentation with region relevance (ICME 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.func import functional_call

from ...functional import (
    feature_matching,
    masked_cross_entropy,
    percentile_threshold,
    region_share,
    region_vote,
    upcast,
)
from .cross_pseudo import CrossPseudo, CrossStep
from .semi import IGNORE

Judged: TypeAlias = tuple[Tensor, Tensor]
"""Label maps (B, C, H, W) and their images (B, 3, H, W) in [0, 1]."""

Scores: TypeAlias = Mapping[tuple[int, int], Tensor]
"""S_jk (B, 1, R, R) of discriminator j on the label maps of network k, by (j, k)."""

SELECTIONS = ('own', 'crossed', 'both')
"""Who accepts a region of a network's label map: its own discriminator, the other's, both."""


@MODELS.register_module()
class RRN(CrossPseudo):
    """L = L_sup + λ_cps·L_cps + Σ_k [λ_fm·L_fm,k + λ_st·(L_ls,k + L_dr,k)] (arXiv 2304.11539).

    :class:`CrossPseudo` with a discriminator D_k for each network f_k. With P_k = softmax f_k(x_m)
    and the score S_jk = σ(D_j(P_k)) of each region:

    * Local selection L_ls,k: f_k learns its own labels, argmax P_k, in regions where S_kk > γ.
    * Dynamic region loss L_dr,k: the same where the *other* discriminator accepts, S_jk > γ. Each
      is a mean over its own pixels, so a region counts 0, 1 or 2 votes.
    * Feature matching L_fm,k: φ_k of P_k is to look like φ_k of true labels, on the mean.
    * L_D,k trains D_k to tell P_k from true labels, with an optimizer of its own
      (``AdversarialOptimWrapperConstructor``).

    L and L_D go through one backward. D judges with detached parameters inside L and gets a
    detached P_k inside L_D, so no gradient reaches D from L or f from L_D.

    Args:
        discriminator: Settings of ``RegionDiscriminator``: ``head``, ``grid``.
        threshold: γ.
        accepted_share: Instead of a fixed γ: it lets this share of the regions of a step (of a
            process) through, those with the highest scores. Ours, not the paper's.
        matching_weight: λ_fm.
        selection_weight: λ_st.
        selftrain_warmup_iters: Iterations without L_ls and L_dr, counted from the end of
            ``warmup_iters``; the authors' is one epoch.
        target: What the selected regions teach. ``'self'``: a network its own labels, as in the
            authors' code. ``'cross'``: the other network's pseudo-label Y where D accepts the
            network that gave it; in addition to L_cps, so ``cps_weight=0`` leaves the selected
            pseudo-labels alone.
        vote: ``'sum'`` of the two votes, or ``'and'``: one term over regions both accept.
        discriminator_target: ``'gan'``: D tells predictions from true labels. ``'correctness'``:
            it learns the share of right pixels in each region of labeled crops.
        scoring_dropout: Whether channels are dropped in D while it scores, as in the authors'
            code; the selection is random then.
        **cross: As in :class:`CrossPseudo`.

    Raises:
        ValueError: A setting outside its range, named with its value.
    """

    def __init__(
        self,
        *,
        discriminator: dict | None = None,
        threshold: float = 0.6,
        accepted_share: float | None = None,
        matching_weight: float = 0.1,
        selection_weight: float = 1.0,
        selftrain_warmup_iters: int = 0,
        target: Literal['self', 'cross'] = 'self',
        vote: Literal['sum', 'and'] = 'sum',
        discriminator_target: Literal['gan', 'correctness'] = 'gan',
        scoring_dropout: bool = False,
        **cross: Any,
    ) -> None:
        super().__init__(**cross)
        for name, value, choices in (
            ('target', target, ('self', 'cross')),
            ('vote', vote, ('sum', 'and')),
            ('discriminator_target', discriminator_target, ('gan', 'correctness')),
        ):
            if value not in choices:
                raise ValueError(f'{name} must be {choices[0]!r} or {choices[1]!r}, got {value!r}')
        if accepted_share is not None and not 0 < accepted_share < 1:
            raise ValueError(f'accepted_share must be between 0 and 1, got {accepted_share}')
        for name, number in (
            ('threshold', threshold),
            ('matching_weight', matching_weight),
            ('selection_weight', selection_weight),
            ('selftrain_warmup_iters', selftrain_warmup_iters),
        ):
            if number < 0:
                raise ValueError(f'{name} must not be negative, got {number}')
        self.threshold = threshold
        self.accepted_share = accepted_share
        self.matching_weight = matching_weight
        self.selection_weight = selection_weight
        self.selftrain_warmup_iters = selftrain_warmup_iters
        self.target = target
        self.vote = vote
        self.discriminator_target = discriminator_target
        self.scoring_dropout = scoring_dropout
        settings = {'type': 'RegionDiscriminator', **(discriminator or {})}
        # a seed starts the networks as it does those of CPS
        with torch.random.fork_rng(devices=[]):
            self.discriminators = nn.ModuleList(
                MODELS.build({**settings, 'num_classes': self.num_classes}) for _ in self.networks
            )

    def loss(self, inputs: dict[str, Tensor], data_samples: dict[str, list]) -> dict[str, Tensor]:
        """One step; keys with ``loss`` are summed for one backward over L + Σ_k L_D,k."""
        losses, step = self.cross_step(inputs, data_samples)
        if step is None:  # labeled images alone: D has nothing to judge
            idle = torch.stack([p.sum() for p in self.discriminators.parameters()]).sum()
            return {**losses, 'disc.loss_idle': 0.0 * idle}  # DDP hangs without a gradient

        prob = [upcast(logits).softmax(1) for logits in step.logits_m]  # P_1, P_2
        mixed, images_l = self.unit_range(step.mixed), self.unit_range(step.images_l)
        real = one_hot(step.labels, self.num_classes)
        sizes = [len(mixed), len(images_l)]

        matching, d_real = [], []
        scores: dict[tuple[int, int], Tensor] = {}  # S_jk of judge j and network k
        for k, discriminator in enumerate(self.discriminators):
            judged, feature = self._judge(k, prob[k], mixed)
            scores[k, k] = judged.detach().sigmoid()
            with torch.no_grad():  # the other network's map and true labels in one forward
                others = torch.cat((prob[1 - k], real)), torch.cat((mixed, images_l))
                judged, features = self._judge(k, *others)
                scores[k, 1 - k], of_real = judged.sigmoid().split(sizes)
            d_real.append(of_real.mean())
            matching.append(feature_matching(features[sizes[0] :], feature))
            if self.discriminator_target == 'gan':
                loss = adversarial_loss(discriminator, (prob[k].detach(), mixed), (real, images_l))
            else:
                logits = self.upsample(step.logits_l[k].detach(), step.labels.shape[1:])
                loss = correctness_loss(discriminator, logits, images_l, step.labels)
            losses[f'disc.loss_network{k + 1}'] = loss
        losses['rrn.loss_matching'] = self.matching_weight * torch.stack(matching).sum()
        losses.update(self._selection_losses(step, scores))
        losses['semi/d_real'] = torch.stack(d_real).mean()
        losses['semi/d_fake'] = torch.stack([scores[k, k].mean() for k in (0, 1)]).mean()
        return losses

    @property
    def selftrains(self) -> bool:
        """Whether L_ls and L_dr count in this iteration."""
        return self.iteration >= self.warmup_iters + self.selftrain_warmup_iters

    @torch.no_grad()
    def scores(self, prob: Sequence[Tensor], images: Tensor) -> Scores:
        """Every S_jk, outside of a training step.

        Args:
            prob: P_1 and P_2, (B, C, H, W) each.
            images: Their normalized images (B, 3, H, W).
        """
        maps, unit = torch.cat(list(prob)), self.unit_range(images).repeat(2, 1, 1, 1)
        judged = [self._judge(j, maps, unit)[0].sigmoid().chunk(2) for j in (0, 1)]
        return {(j, k): judged[j][k] for j in (0, 1) for k in (0, 1)}

    def votes(self, k: int, scores: Scores, size: Sequence[int]) -> Tensor:
        """Where network k's labels are accepted.

        Args:
            k: 0 or 1.
            scores: S_jk (B, 1, R, R) of judge j and network k.
            size: Height H and width W of the images, pixels.

        Returns:
            Float (3, B, H, W), 1 where accepted: by its own discriminator (S_kk > γ), by the
            other (S_jk > γ), by both.
        """
        own, crossed = (
            region_vote(scores[judge, k], size, self._gamma(scores[judge, k]))
            for judge in (k, 1 - k)
        )
        return torch.stack((own, crossed, own * crossed))

    def _gamma(self, scores: Tensor) -> float | Tensor:
        """γ, or what leaves ``accepted_share`` of the scores above it."""
        if self.accepted_share is None:
            return self.threshold
        return percentile_threshold(scores, 100 * (1 - self.accepted_share))

    def _selection_losses(self, step: CrossStep, scores: Scores) -> dict[str, Tensor]:
        """λ_st·(L_ls + L_dr) of both networks, from the scores S_jk (B_m, 1, R, R)."""
        weight = self.selection_weight if self.selftrains else 0.0
        names, chosen = (
            (('local', 'dynamic'), slice(2)) if self.vote == 'sum' else (('both',), slice(2, 3))
        )
        terms, shares = [], []
        for k in (0, 1):
            votes = self.votes(k, scores, step.mixed.shape[2:])
            if self.target == 'self':
                student = step.logits_m[k]
                label = student.argmax(1).masked_fill(step.pads, IGNORE)
            else:  # network k gives the label
                student, label = step.logits_m[1 - k], step.pseudo[k]
            terms.append(masked_cross_entropy(student, label, votes[chosen], IGNORE))
            shares.append(votes.mean((1, 2, 3)))
        losses = {
            f'rrn.loss_{name}': weight * term
            for name, term in zip(names, terms[0] + terms[1], strict=True)
        }
        selected = torch.stack(shares).mean(0)  # of all pixels
        for name, share in zip(SELECTIONS, selected, strict=True):
            losses[f'semi/selected_{name}'] = share
        return losses

    def _judge(self, k: int, prob: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 1, R, R) and φ (B, 512) of D_k, whose parameters get no gradient."""
        discriminator = self.discriminators[k]
        frozen = {name: value.detach() for name, value in discriminator.named_parameters()}
        return functional_call(discriminator, frozen, (prob, images, self.scoring_dropout))


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Labels (B, H, W) as float (B, C, H, W); 255 as the zero vector."""
    classes = torch.arange(num_classes, device=labels.device)
    return (labels.unsqueeze(-1) == classes).permute(0, 3, 1, 2).float()  # channels last in memory


def adversarial_loss(discriminator: nn.Module, fake: Judged, real: Judged) -> Tensor:
    """L_D = ½[BCE(D(fake), 0) + BCE(D(real), 1)], scalar."""
    both = (torch.cat(maps) for maps in zip(fake, real, strict=True))
    of_fake, of_real = upcast(discriminator(*both)[0]).split([len(fake[0]), len(real[0])])
    zero, one = torch.zeros_like(of_fake), torch.ones_like(of_real)
    bce = F.binary_cross_entropy_with_logits
    return (bce(of_fake, zero) + bce(of_real, one)) / 2


def correctness_loss(
    discriminator: nn.Module, logits: Tensor, images: Tensor, labels: Tensor
) -> Tensor:
    """BCE of D to the share of right pixels, mean over the regions that have labeled pixels.

    Args:
        discriminator: D.
        logits: A network's (B, C, H, W) on labeled images, without a graph.
        images: In [0, 1], (B, 3, H, W).
        labels: (B, H, W); 255 is neither right nor wrong.
    """
    judged = upcast(discriminator(upcast(logits).softmax(1), images)[0])
    right, labeled = logits.argmax(1) == labels, labels != IGNORE
    share, count = region_share(right, labeled, judged.shape[2:])
    loss = F.binary_cross_entropy_with_logits(judged, share, reduction='none')
    counted = (count > 0).float()
    return (loss * counted).sum() / counted.sum().clamp(min=1)
