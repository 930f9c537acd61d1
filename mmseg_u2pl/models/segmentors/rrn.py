"""RRN: semi-supervised semantic segmentation with region relevance (ICME 2023)."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import (
    IGNORE,
    feature_matching,
    masked_cross_entropy,
    percentile_threshold,
    region_vote,
    upcast,
)
from ..losses.adversarial import adversarial_loss, correctness_loss, discriminate, one_hot
from ..settings import not_negative, one_of
from .batch import PseudoLabels, SemiBatch
from .cross_pseudo import CrossPseudo, CrossStep


@MODELS.register_module()
class RRN(CrossPseudo):
    """RRN (arXiv 2304.11539): :class:`CrossPseudo` with a discriminator D_k for each network f_k.

    L = L_sup + λ_cps·L_cps + Σ_k [λ_fm·L_fm,k + λ_st·(L_ls,k + L_dr,k)]. With P_k = softmax f_k(x_m)
    and the score S_jk = σ(D_j(P_k)) of each region:

    * Local selection L_ls,k: f_k learns its labels, argmax P_k, in regions where S_kk > γ.
    * Dynamic region loss L_dr,k: the same where the *other* discriminator accepts, S_jk > γ. Each
      is a mean over its pixels, so a region counts 0, 1 or 2 times.
    * Feature matching L_fm,k: φ_k of P_k is to look like φ_k of true labels, on the mean.
    * L_D,k trains D_k to tell P_k from true labels, in the same backward: D has detached parameters
      inside L, and a detached P_k inside L_D.

    Args:
        discriminator: Settings of ``RegionDiscriminator``: ``head``, ``grid``, ``channels``.
        threshold: γ.
        accepted_share: Instead of a fixed γ: this share of the regions of a step (of a
            process) is accepted, those with the highest scores. Ours, not the paper's.
        matching_weight: λ_fm.
        selection_weight: λ_st.
        selftrain_warmup_iters: Iterations without L_ls and L_dr, counted from the end of
            ``warmup_iters``; the authors' is one epoch.
        target: ``'self'``: accepted regions teach a network its labels, as in the authors' code.
            ``'cross'``: they teach it the other network's labels Y, in addition to L_cps.
        vote: ``'sum'`` of the two terms, or ``'and'``: one term over regions that both accept.
        discriminator_target: ``'gan'``: D tells predictions from true labels. ``'correctness'``:
            it learns the share of right pixels in each region of labeled crops.
        **cross: As in :class:`CrossPseudo`.

    Raises:
        ValueError: A setting outside its range, named with its value.
    """

    zero_warnings = {
        'semi/accepted_own': 'no discriminator accepts a region, L_ls and L_dr are 0: RRN has fallen '
        'back to CPS (see semi/d_fake). Lower model.threshold or '
        'optim_wrapper.discriminator_optimizer.lr'
    }

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
        **cross: Any,
    ) -> None:
        super().__init__(**cross)
        one_of(('self', 'cross'), target=target)
        one_of(('sum', 'and'), vote=vote)
        one_of(('gan', 'correctness'), discriminator_target=discriminator_target)
        if accepted_share is not None and not 0 < accepted_share < 1:
            raise ValueError(f'accepted_share must be between 0 and 1, got {accepted_share}')
        not_negative(threshold=threshold, selftrain_warmup_iters=selftrain_warmup_iters)
        not_negative(matching_weight=matching_weight, selection_weight=selection_weight)
        self.threshold = threshold
        self.accepted_share = accepted_share
        self.matching_weight = matching_weight
        self.selection_weight = selection_weight
        self.selftrain_warmup_iters = selftrain_warmup_iters
        self.target = target
        self.vote = vote
        self.discriminator_target = discriminator_target
        known = dict(num_classes=self.num_classes)
        # the networks start from a seed as those of CPS do
        with torch.random.fork_rng(devices=[]):
            self.discriminators = nn.ModuleList(
                self.build_part(discriminator or {}, 'RegionDiscriminator', **known)
                for _ in self.networks
            )

    def warmup_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """Labeled images alone: there is nothing to score."""
        idle = torch.stack([p.sum() for p in self.discriminators.parameters()]).sum()
        return super().warmup_step(batch) | {'disc.loss_idle': 0.0 * idle}  # DDP needs a gradient

    def semi_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """One step; all losses go through one backward over L + Σ_k L_D,k."""
        losses, step = self.cross_step(batch)

        prob = [upcast(logits).softmax(1) for logits in step.logits_m]  # P_1, P_2
        mixed, images_l = map(self.data_preprocessor.unit_range, (step.mixed, batch.images_l))
        real = one_hot(batch.labels, self.num_classes)
        sizes = [len(mixed), len(images_l)]

        matching, d_real = [], []
        scores: dict[tuple[int, int], Tensor] = {}  # S_jk of discriminator j and network k
        for k, discriminator in enumerate(self.discriminators):
            region_logits, feature = discriminate(discriminator, prob[k], mixed)
            scores[k, k] = region_logits.detach().sigmoid()
            with torch.no_grad():  # the other network's map and true labels in one forward
                others = torch.cat((prob[1 - k], real)), torch.cat((mixed, images_l))
                region_logits, features = discriminate(discriminator, *others)
                scores[k, 1 - k], of_real = region_logits.sigmoid().split(sizes)
            d_real.append(of_real.mean())
            matching.append(feature_matching(features[sizes[0] :], feature))
            if self.discriminator_target == 'gan':
                loss = adversarial_loss(discriminator, (prob[k].detach(), mixed), (real, images_l))
            else:
                logits = self.upsample(step.logits_l[k].detach(), batch.labels.shape[1:])
                loss = correctness_loss(discriminator, logits, images_l, batch.labels)
            losses[f'disc.loss_network{k + 1}'] = loss
        losses['rrn.loss_matching'] = self.matching_weight * torch.stack(matching).sum()
        losses.update(self._selection_losses(step, scores))
        losses['semi/d_real'] = torch.stack(d_real).mean()
        losses['semi/d_fake'] = torch.stack([scores[k, k].mean() for k in (0, 1)]).mean()
        return losses

    def _selection_losses(self, step: CrossStep, scores: dict) -> dict[str, Tensor]:
        """λ_st·(L_ls + L_dr) of both networks, from the scores S_jk (B_m, 1, R, R)."""
        size = step.mixed.shape[2:]
        terms, shares = [], []
        for k in (0, 1):
            own, crossed = (self._accept(scores[j, k], size) for j in (k, 1 - k))
            both = own * crossed  # (B, H, W)
            if self.target == 'self':
                student = step.logits_m[k]
                label = student.argmax(1).masked_fill(~step.valid, IGNORE)
            else:  # network k gives the label
                student, label = step.logits_m[1 - k], step.pseudo[k]
            accepted = (own, crossed) if self.vote == 'sum' else (both,)
            terms.append(masked_cross_entropy(student, label, torch.stack(accepted), IGNORE))
            shares.append(torch.stack((own, crossed, both)).mean((1, 2, 3)))
        weight = self.selection_weight if self.selftrains else 0.0
        names = ('local', 'dynamic') if self.vote == 'sum' else ('both',)
        total = weight * (terms[0] + terms[1])
        losses = {f'rrn.loss_{name}': term for name, term in zip(names, total, strict=True)}
        # of all pixels: accepted by the network's discriminator, the other, both
        share_of = torch.stack(shares).mean(0)
        for name, share in zip(('own', 'crossed', 'both'), share_of, strict=True):
            losses[f'semi/accepted_{name}'] = share
        return losses

    def _accept(self, scores: Tensor, size: Sequence[int]) -> Tensor:
        """Float (B, H, W), 1 in regions of (B, 1, R, R) scores above γ, or in their upper share."""
        gamma: float | Tensor = self.threshold
        if self.accepted_share is not None:
            gamma = percentile_threshold(scores, 100 * (1 - self.accepted_share))
        return region_vote(scores, size, gamma)

    @torch.no_grad()
    def pseudo_labels(self, images: Tensor, valid: Tensor) -> dict[str, PseudoLabels]:
        """As in CPS; a network keeps the labels that its discriminator accepts."""
        found = super().pseudo_labels(images, valid)
        unit = self.data_preprocessor.unit_range(images)
        for (name, pseudo), discriminator in zip(found.items(), self.discriminators, strict=True):
            scores = discriminate(discriminator, pseudo.prob, unit)[0].sigmoid()
            accepted = self._accept(scores, images.shape[2:]) > 0
            found[name] = pseudo._replace(keep=pseudo.keep & accepted)
        return found

    @property
    def selftrains(self) -> bool:
        """Whether L_ls and L_dr count in this iteration."""
        return self.iteration >= self.warmup_iters + self.selftrain_warmup_iters

    def check(self, runner: Any) -> None:
        """Refuse one optimizer for networks and discriminators, and crops without a region.

        Warn where the training ends before L_ls and L_dr count.
        """
        super().check(runner)
        if (size := self.data_preprocessor.size) is not None:
            discriminator: Any
            for discriminator in self.discriminators:
                discriminator.check(*size)
        first = self.warmup_iters + self.selftrain_warmup_iters
        if self.selection_weight and first >= runner.max_iters:
            runner.logger.warning(
                f'warmup_iters + selftrain_warmup_iters = {first}, but the training has '
                f'{runner.max_iters} iterations: regions teach nothing, this is CPS'
            )
        if 'discriminators' not in getattr(runner.optim_wrapper.optimizer, 'parts', ()):
            raise ValueError(
                'RRN.discriminators would be trained by the optimizer of the segmentation '
                "networks: set optim_wrapper.constructor='SemiOptimWrapperConstructor'"
            )
