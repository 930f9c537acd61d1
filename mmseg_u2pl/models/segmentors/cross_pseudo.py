"""CPS: two networks that label unlabeled images for each other (CVPR 2021), with CutMix."""

import copy
from typing import Any, NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor
from torch.profiler import record_function

from ...functional import IGNORE, cutmix_pair_masks, hard_labels, masked_cross_entropy, mix_pairs
from ..settings import not_negative, unused
from .batch import PseudoLabels, SemiBatch, View
from .networks import SemiNetworks
from .semi import SemiSegmentor


class CrossStep(NamedTuple):
    """What a step computed; pairs are of networks 1 and 2."""

    batch: SemiBatch
    mixed: Tensor  # x_m, (B_m, 3, H, W)
    valid: Tensor  # boolean (B_m, H, W), of x_m, False on padding
    logits_l: tuple[Tensor, Tensor]  # (B_l, C, h, w) each
    logits_m: tuple[Tensor, Tensor]  # of x_m, (B_m, C, H, W) each
    pseudo: tuple[Tensor, Tensor]  # Y_1 and Y_2, (B_m, H, W) each, 255 on padding


@MODELS.register_module()
class CrossPseudo(SemiSegmentor):
    """CPS with CutMix (Chen et al., arXiv 2106.01226): two networks label images for each other.

    L = Σ_k CE(f_k(x), y) + λ_cps·[CE(f_1(x_m), Y_2) + CE(f_2(x_m), Y_1)]

    The segmentor is network 1. Network 2 is built from the same config: the same pretrained
    backbone, other random heads. Each step mixes pairs of unlabeled images, x_m = M⊙u_1 +
    (1 − M)⊙u_0 (CutMix); Y_k is the same mix of network k's labels of u_0 and u_1, without a
    gradient.

    The unlabeled stream holds the pairs: ``SemiSampler(ratio=(1, 2))`` with a batch of 12 is 4
    labeled images and 4 mixed ones. Both go through a network in one forward, so that BatchNorm
    normalizes them alike; the labels Y come, as in the authors' code, from a forward in training
    mode.

    Both networks predict, by the mean of their logits; ``predictor='network1'`` is how CPS reports.
    A checkpoint of one network, such as a supervised baseline's, starts both, with a warning.

    Args:
        cps_weight: λ_cps (VOC with CutMix: 1).
        **semi: As in :class:`SemiSegmentor`.

    Raises:
        ValueError: A negative weight; a teacher or a contrastive loss, which CPS does not have; an
            odd number of unlabeled images in a batch.
    """

    predictors = ('mean', 'network1', 'network2')
    unlabeled_group = 2

    def __init__(self, *, cps_weight: float = 1.0, **semi: Any) -> None:
        config = copy.deepcopy(semi)  # building changes it
        super().__init__(**semi)
        names = ('teacher', 'contrastive', 'representation_head')
        unused(self, **{name: config.get(name) for name in names})
        not_negative(cps_weight=cps_weight)
        self.cps_weight = cps_weight
        for name in ('predictor', 'warmup_iters', 'data_preprocessor'):
            config.pop(name, None)
        self.network2 = SemiNetworks(**config)

    @property
    def networks(self) -> tuple[SemiNetworks, SemiNetworks]:
        """f_1 and f_2."""
        return self, self.network2

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """A checkpoint without a network 2 gives its weights to both networks."""
        if not any(name.startswith(f'{prefix}network2.') for name in state):
            message = (
                'The checkpoint holds one network: both start from it. Equal networks give each '
                'other the labels that they have already; only dropout sets them apart at first. '
                'Training needs two that differ'
            )
            self._copy_student(state, prefix, 'network2', message)
        super()._load_from_state_dict(state, prefix, *arguments)

    def predicting(self) -> tuple[SemiNetworks, ...]:
        """One network, or both."""
        choices = dict(mean=self.networks, network1=(self,), network2=(self.network2,))
        return choices[self.predictor]

    # ---------------------------------------------------------------- training
    def warmup_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """Both networks on the labeled images."""
        return self._supervise(batch.images_l, batch.samples_l)[0]

    def semi_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """One step."""
        return self.cross_step(batch)[0]

    def cross_step(self, batch: SemiBatch) -> tuple[dict[str, Tensor], CrossStep]:
        """L_sup and λ_cps·L_cps, and what they were computed from."""
        num_l = len(batch.images_l)
        masks, mixed, valid = self._mix(batch)  # CutMix

        images = torch.cat((batch.images_l, mixed))
        losses, logits = self._supervise(images, batch.samples_l)
        one, two = (self.upsample(maps[num_l:], mixed.shape[2:]) for maps in logits)

        # Pseudo-labels come last: under autocast, casts of weights made without gradients are used
        # again and pass none on (pytorch/pytorch#112583, until recent releases of torch).
        label_1, label_2 = (
            mix_pairs(masks, self._label(network, batch.images_u)).masked_fill(~valid, IGNORE)
            for network in self.networks
        )

        everywhere = torch.ones_like(valid)
        with record_function('semi/unsupervised loss'):
            for number, student, label in ((1, one, label_2), (2, two, label_1)):
                cps = masked_cross_entropy(student, label, everywhere, IGNORE)
                losses[f'cps.loss_network{number}'] = self.cps_weight * cps
        agreed = ((label_1 == label_2) & valid).sum()
        losses['semi/agreement'] = agreed / valid.sum().clamp(min=1)
        return losses, CrossStep(
            batch, mixed, valid,
            logits_l=(logits[0][:num_l], logits[1][:num_l]), logits_m=(one, two),
            pseudo=(label_1, label_2),
        )  # fmt: skip

    def _supervise(
        self, images: Tensor, samples_l: list
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """L_sup, and each network's logits (B, C, h, w) of images, the labeled ones first."""
        losses: dict[str, Tensor] = {}
        logits: list[Tensor] = []
        for number, network in enumerate(self.networks, start=1):
            with record_function('semi/student'):
                features = network.extract_feat(images)
                logit, rep = network.decode(network, features)
            logits.append(logit)
            if rep is not None:  # DDP needs a gradient of U2PLHead's branch g
                losses[f'cps.loss_idle{number}'] = 0.0 * rep.sum()
            part = network.supervised_losses(features, logits[-1][: len(samples_l)], samples_l)
            for name, value in part.items():
                losses[name.replace('sup.', f'sup.network{number}.', 1)] = value
        return losses, (logits[0], logits[1])

    @record_function('semi/teacher')
    @torch.no_grad()
    def _label(self, network: SemiNetworks, images: Tensor) -> Tensor:
        """The labels (B, H, W) that a network gives images (B, 3, H, W)."""
        logits = network.decode_head(network.extract_feat(images))
        return hard_labels(logits, images.shape[2:], self.align_corners)

    # ---------------------------------------------------------------- diagnosis
    @torch.no_grad()
    def pseudo_labels(self, images: Tensor, valid: Tensor) -> dict[str, PseudoLabels]:
        """What each network teaches the other; every pixel teaches."""
        found = {}
        for number, network in enumerate(self.networks, start=1):
            logits = network.decode_head(network.extract_feat(images))
            prob = self.upsample(logits.float(), images.shape[2:]).softmax(1)
            found[f'network{number}'] = PseudoLabels.of(prob, valid)
        return found

    def training_views(self, batch: SemiBatch) -> list[View]:
        """The mixed pairs."""
        masks, mixed, valid = self._mix(batch)
        return [View('CutMix of pairs', mixed, valid, masks)]

    def _mix(self, batch: SemiBatch) -> tuple[Tensor, Tensor, Tensor]:
        """M, x_m and where x_m is valid: the u_0 are the first half, the u_1 the second."""
        masks = cutmix_pair_masks(len(batch.images_u) // 2, *batch.images_u.shape[2:])
        masks = masks.to(batch.images_u.device, non_blocking=True)
        return masks, mix_pairs(masks, batch.images_u), mix_pairs(masks, batch.valid)
