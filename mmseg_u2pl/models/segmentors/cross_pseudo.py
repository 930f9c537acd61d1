"""CPS: two networks that label unlabeled images for each other (CVPR 2021), with CutMix."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import cutmix_pair_masks, hard_labels, masked_cross_entropy, mix_pairs
from .semi import IGNORE, SemiSegmentor


class CrossStep(NamedTuple):
    """What a step computed; of network 1 and 2 where there are two."""

    images_l: Tensor  # (B_l, 3, H, W)
    labels: Tensor  # (B_l, H, W)
    mixed: Tensor  # x_m, (B_m, 3, H, W)
    pads: Tensor  # boolean (B_m, H, W), of x_m
    logits_l: tuple[Tensor, Tensor]  # (B_l, C, h, w) each
    logits_m: tuple[Tensor, Tensor]  # of x_m, (B_m, C, H, W) each
    pseudo: tuple[Tensor, Tensor]  # Y_1 and Y_2, (B_m, H, W) each, 255 on pads


@MODELS.register_module()
class CrossPseudo(SemiSegmentor):
    """L = Σ_k CE(f_k(x), y) + λ_cps·[CE(f_1(x_m), Y_2) + CE(f_2(x_m), Y_1)] (arXiv 2106.01226).

    The segmentor is network 1. Network 2 is built from the same config: the same pretrained
    backbone, other random heads. Each step mixes pairs of unlabeled images, x_m = M⊙u_1 +
    (1 − M)⊙u_0 (CutMix); Y_k is the same mix of network k's labels of u_0 and u_1, without a
    gradient.

    The unlabeled stream brings the pairs: its first half are the u_0, its second the u_1. So
    ``SemiSampler(ratio=(1, 2))`` with a batch of 12 is 4 labeled images and 4 mixed ones. A network
    sees the labeled and the mixed images in one forward, so that BatchNorm normalizes both alike;
    the labels Y come, as in the authors' code, from a forward in training mode.

    Both networks predict, by the mean of their logits; ``predictor='network1'`` is how CPS reports.

    A checkpoint of one network, such as a supervised twin's, starts both, with a warning.

    Args:
        cps_weight: λ_cps (VOC with CutMix: 1).
        **semi: As in :class:`SemiSegmentor`.

    Raises:
        ValueError: A negative weight; an odd number of unlabeled images in a batch.
    """

    predictors = ('mean', 'network1', 'network2')
    unlabeled_group = 2

    def __init__(self, *, cps_weight: float = 1.0, **semi: Any) -> None:
        config = copy.deepcopy(semi)  # building changes it
        super().__init__(**semi)
        if cps_weight < 0:
            raise ValueError(f'cps_weight must not be negative, got {cps_weight}')
        self.cps_weight = cps_weight
        for own in ('predictor', 'warmup_iters', 'data_preprocessor'):
            config.pop(own, None)
        self.network2 = SemiSegmentor(**config)

    @property
    def networks(self) -> tuple[SemiSegmentor, SemiSegmentor]:
        """f_1 and f_2."""
        return self, self.network2

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        """A checkpoint without a network 2 gives both networks the weights of its own."""
        second = f'{prefix}network2.'
        if not any(name.startswith(second) for name in state_dict):
            own = [name for name in self.network2.state_dict() if prefix + name in state_dict]
            state_dict.update({second + name: state_dict[prefix + name] for name in own})
            if own:
                print_log(
                    'The checkpoint holds one network: both start from it. Equal networks give '
                    'each other the labels that they have already; only dropout sets them apart '
                    'at first. Training needs two that differ',
                    logger='current',
                    level=logging.WARNING,
                )
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    # ---------------------------------------------------------------- prediction
    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits at image size (B, C, H, W) from the networks that predict."""

        def predict(network: SemiSegmentor) -> Tensor:
            features = network.extract_feat(inputs)
            return network.decode_head.predict(features, batch_img_metas, self.test_cfg)

        return self._predict(predict)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        return self._predict(lambda network: network.decode_head(network.extract_feat(inputs)))

    def _predict(self, logits_of: Callable[[SemiSegmentor], Tensor]) -> Tensor:
        """Logits of the network that predicts, or the mean of both."""
        if self.predictor == 'mean':
            return (logits_of(self) + logits_of(self.network2)) / 2
        return logits_of(self.networks[self.predictors.index(self.predictor) - 1])

    # ---------------------------------------------------------------- training
    def loss(self, inputs: dict[str, Tensor], data_samples: dict[str, list]) -> dict[str, Tensor]:
        """One step; keys with ``loss`` are summed for backward."""
        return self.cross_step(inputs, data_samples)[0]

    def cross_step(
        self, inputs: dict[str, Tensor], data_samples: dict[str, list]
    ) -> tuple[dict[str, Tensor], CrossStep | None]:
        """L_sup and λ_cps·L_cps, and what they were computed from; None in the warm-up."""
        images_l, labels, images_u, validity = self.streams(inputs, data_samples)
        samples_l, num_l = data_samples['sup'], len(images_l)
        if self.in_warmup:
            return self._supervise(images_l, samples_l)[0], None

        # CutMix: the first half of the unlabeled images are the u_0, the second the u_1
        masks = self._pair_masks(images_u)
        mixed, pads = mix_pairs(masks, images_u), mix_pairs(masks, validity == IGNORE)

        losses, low = self._supervise(torch.cat((images_l, mixed)), samples_l)
        one, two = (self.upsample(own[num_l:], mixed.shape[2:]) for own in low)

        # Pseudo-labels come last: under autocast, casts of weights made without gradients are used
        # again and pass none on (pytorch/pytorch#112583, until recent releases of torch).
        with torch.no_grad():
            label_1, label_2 = (
                mix_pairs(masks, self.labels(network, images_u)).masked_fill(pads, IGNORE)
                for network in self.networks
            )

        everywhere = torch.ones_like(pads)
        for number, student, label in ((1, one, label_2), (2, two, label_1)):
            cps = masked_cross_entropy(student, label, everywhere, IGNORE)
            losses[f'cps.loss_network{number}'] = self.cps_weight * cps
        agreed = ((label_1 == label_2) & ~pads).sum()
        losses['semi/agreement'] = agreed / (~pads).sum().clamp(min=1)
        return losses, CrossStep(
            images_l, labels, mixed, pads,
            logits_l=(low[0][:num_l], low[1][:num_l]), logits_m=(one, two),
            pseudo=(label_1, label_2),
        )  # fmt: skip

    def _supervise(
        self, images: Tensor, samples_l: list
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """L_sup, and each network's logits (B, C, h, w) of images, the labeled ones first."""
        losses, logits = {}, []
        for number, network in enumerate(self.networks, start=1):
            features = network.extract_feat(images)
            logits.append(network.decode_head(features))
            own = network.supervised_losses(features, logits[-1][: len(samples_l)], samples_l)
            for name, value in own.items():
                losses[name.replace('sup.', f'sup.network{number}.', 1)] = value
        return losses, (logits[0], logits[1])

    def labels(self, network: SemiSegmentor, images: Tensor) -> Tensor:
        """What a network takes images (B, 3, H, W) for: (B, H, W)."""
        low = network.decode_head(network.extract_feat(images))
        return hard_labels(low, images.shape[2:], self.align_corners)

    @staticmethod
    def _pair_masks(images: Tensor) -> Tensor:
        """M, boolean (B_m, H, W), of unlabeled images (2·B_m, 3, H, W)."""
        if len(images) % 2:
            raise ValueError(
                f'{len(images)} unlabeled images in a batch cannot be mixed in pairs: set '
                'train_dataloader.sampler.ratio=(1, 2) and batch_size to a multiple of 3'
            )
        masks = cutmix_pair_masks(len(images) // 2, *images.shape[2:])
        return masks.to(images.device, non_blocking=True)
