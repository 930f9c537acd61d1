"""What every semi-supervised segmentor shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.utils import add_prefix
from torch import Tensor

from ...functional import photometric_view
from ..heads import logits_and_feature

IGNORE = 255
"""Label of pixels that count nowhere: void, pads, unreliable pseudo-labels."""


Network: TypeAlias = Any
"""Whatever has mmseg's ``extract_feat`` and ``decode_head``: a segmentor or a teacher."""


class SemiSegmentor(EncoderDecoder):
    """An ``EncoderDecoder`` (the student) trained on a labeled and an unlabeled stream.

    A method subclasses this, builds what it needs beside the student and writes :meth:`loss`.
    Prediction goes through one of :attr:`predictors`, so validation, test, sliding windows,
    TTA and mmseg's inference tools work unchanged; ``predictor`` selects which.

    Args:
        warmup_iters: Iterations on labeled images alone.
        predictor: Which network predicts; None means the first of :attr:`predictors`.
        data_preprocessor: As in mmseg; a ``SegDataPreProcessor`` becomes a
            ``SemiDataPreprocessor`` with the same settings, so any mmseg model config serves.
        **encoder_decoder: As in mmseg's ``EncoderDecoder``: ``backbone``, ``neck``,
            ``decode_head``, ``auxiliary_head``, ``train_cfg``, ``test_cfg``, ``pretrained``,
            ``init_cfg``.

    Raises:
        ValueError: A head with one output channel, an unknown predictor or a negative warm-up.
    """

    predictors: tuple[str, ...] = ('student',)
    """Names of the networks that can predict, the default first."""
    unlabeled_group: int = 1
    """Unlabeled images that a step takes together: a batch holds a multiple of it."""

    def __init__(
        self,
        *,
        warmup_iters: int = 0,
        predictor: str | None = None,
        data_preprocessor: dict | None = None,
        **encoder_decoder: Any,
    ) -> None:
        if isinstance(data_preprocessor, dict):
            data_preprocessor = dict(data_preprocessor)
            if data_preprocessor.get('type') == 'SegDataPreProcessor':
                data_preprocessor['type'] = 'SemiDataPreprocessor'
        super().__init__(data_preprocessor=data_preprocessor, **encoder_decoder)
        if self.out_channels < 2:
            raise ValueError(
                'decode_head.out_channels=1 (sigmoid) has no class ranks or entropies: use '
                'num_classes=2 and out_channels=2'
            )
        if warmup_iters < 0:
            raise ValueError(f'warmup_iters must not be negative, got {warmup_iters}')
        predictor = predictor or self.predictors[0]
        if predictor not in self.predictors:
            raise ValueError(f'predictor={predictor!r} is none of {self.predictors}')
        self.predictor = predictor
        self.warmup_iters = warmup_iters
        self._progress: tuple[int, int] | None = None

    # ---------------------------------------------------------------- training progress
    def set_progress(self, iteration: int, max_iters: int) -> None:
        """Where training stands; ``SemiProgressHook`` calls this before every iteration."""
        self._progress = (iteration, max_iters)

    @property
    def progress(self) -> float:
        """t/T in [0, 1], counted from the end of the warm-up; negative during it."""
        iteration, max_iters = self._known_progress()
        return (iteration - self.warmup_iters) / max(1, max_iters - self.warmup_iters)

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self._known_progress()[0]

    @property
    def in_warmup(self) -> bool:
        """Whether this iteration sees labeled images alone."""
        return self.progress < 0

    def _known_progress(self) -> tuple[int, int]:
        if self._progress is None:
            raise RuntimeError(
                f'{type(self).__name__} does not know where training stands: add '
                "dict(type='SemiProgressHook') to custom_hooks "
                '(configs/_base_/methods has the hooks of every method)'
            )
        return self._progress

    # ---------------------------------------------------------------- networks
    def network(self, name: str) -> Network:
        """The network behind a predictor; a method with more than the student overrides this."""
        return self

    def decode(self, network: Network, features: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C, h, w) and, if the network has a branch for it, representation (B, D, h, w)."""
        head = network.decode_head
        if hasattr(head, 'forward_with_representation'):
            return head.forward_with_representation(features)
        logits, feature = logits_and_feature(head, features)
        branch = getattr(network, 'representation_head', None)
        return logits, None if branch is None else branch(feature)

    def upsample(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Logits to image size, as mmseg's heads do it."""
        return resize(logits, size, mode='bilinear', align_corners=self.align_corners)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits at image size from the network that predicts."""
        network = self.network(self.predictor)
        features = network.extract_feat(inputs)
        return network.decode_head.predict(features, batch_img_metas, self.test_cfg)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        network = self.network(self.predictor)
        return network.decode_head(network.extract_feat(inputs))

    # ---------------------------------------------------------------- the two streams
    def streams(self, inputs: Any, data_samples: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images and labels of both streams.

        Returns:
            Labeled images (B_l, 3, H, W), labels (B_l, H, W), unlabeled images (B_u, 3, H, W)
            and their validity map (B_u, H, W): 255 on pads, 0 elsewhere.

        Raises:
            TypeError: The batch has no streams.
            ValueError: The streams' crops differ in size.
        """
        if not isinstance(inputs, dict) or not {'sup', 'unsup'} <= set(inputs):
            raise TypeError(
                f"{type(self).__name__} needs the streams 'sup' and 'unsup': set "
                "train_dataloader.dataset.type='SemiDataset' and "
                "model.data_preprocessor.type='SemiDataPreprocessor'"
            )
        sup, unsup = inputs['sup'], inputs['unsup']
        if sup.shape[2:] != unsup.shape[2:]:
            raise ValueError(
                f'labeled crops are {tuple(sup.shape[2:])}, unlabeled {tuple(unsup.shape[2:])} '
                'pixels, but go through the student together: set data_preprocessor.size to '
                'the crop size'
            )
        labels = [
            torch.cat([sample.gt_sem_seg.data for sample in data_samples[name]])
            for name in ('sup', 'unsup')
        ]
        return sup, labels[0], unsup, labels[1]

    def strong_view(self, images: Tensor) -> Tensor:
        """A photometric view of normalised images (B, 3, H, W), every pixel in its place."""
        mean, std = self._normalization()
        view = (photometric_view(self.unit_range(images)) * 255 - mean) / std
        return torch.empty_like(images).copy_(view)  # in the memory format of the images

    def unit_range(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) with values in [0, 1] again."""
        mean, std = self._normalization()
        return (images * std + mean) / 255

    def _normalization(self) -> tuple[Tensor | float, Tensor | float]:
        """Mean and standard deviation that the data preprocessor normalises with."""
        preprocessor = self.data_preprocessor
        return getattr(preprocessor, 'mean', 0.0), getattr(preprocessor, 'std', 1.0)

    def supervised_losses(
        self, features: list[Tensor], logits: Tensor, data_samples: list
    ) -> dict[str, Tensor]:
        """L_s: exactly the losses of mmseg's ``EncoderDecoder``, on the labeled images.

        Args:
            features: Student features; labeled images first in the batch.
            logits: Student logits of the labeled images, (B_l, C, h, w).
            data_samples: The labeled stream's, with ``gt_sem_seg``.

        Returns:
            Losses named ``sup.decode.*`` and ``sup.aux*.*``.
        """
        losses = add_prefix(self.decode_head.loss_by_feat(logits, data_samples), 'decode')
        if self.with_auxiliary_head:
            labeled = [feature[: len(data_samples)] for feature in features]
            losses.update(self._auxiliary_head_forward_train(labeled, data_samples))
        return add_prefix(losses, 'sup')
