"""The networks of a segmentor: student, teacher and representation branch; which one predicts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any, TypeAlias

from mmengine.logging import print_log
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import add_prefix
from torch import Tensor
from torch.profiler import record_function

from ...compat import type_name
from ...functional import by_images
from ..heads.decode_head import check_decode_head, logits_and_feature
from ..parts.teacher import Teacher

Network: TypeAlias = Any
"""Whatever has mmseg's ``extract_feat`` and ``decode_head``: a segmentor or a teacher."""


class SemiNetworks(EncoderDecoder):
    """An ``EncoderDecoder``, the student, with a teacher and a representation branch if asked for.

    Prediction goes through one of :attr:`predictors`, so validation, test, sliding windows,
    test-time augmentation and mmseg's inference tools work unchanged.

    Args:
        teacher: Settings of the part ``Teacher``; None: no teacher.
        contrastive: Settings of ``UnreliableContrastiveLoss``; None: no contrastive loss.
        representation_head: Settings of the branch g on the decode head's feature, which the
            contrastive loss needs. Not used with ``U2PLHead``, which has a branch.
        predictor: Which network predicts; None means the first of :attr:`predictors`.
        data_preprocessor: As in mmseg; a ``SegDataPreProcessor`` becomes a
            ``SemiDataPreprocessor`` with the same settings. None: one that does not normalize.
        **encoder_decoder: As in mmseg's ``EncoderDecoder``.

    Raises:
        TypeError: An unknown setting; as in ``check_decode_head``; or no ``conv_seg`` where the
            contrastive loss needs it.
        ValueError: A head with one output channel, an unknown predictor, or a teacher whose
            BatchNorm statistics would never move.
    """

    predictors: tuple[str, ...] = ('student',)
    """Names of the networks that can predict, the default first."""
    teacher_sees_batches: bool = False
    """Whether the method makes a pass of the teacher that ``norm='batch'`` can track."""
    contrastive: Any
    """An ``UnreliableContrastiveLoss`` or None."""
    teacher: Teacher | None

    def __init__(
        self,
        *,
        teacher: dict | None = None,
        contrastive: dict | None = None,
        representation_head: dict | None = None,
        predictor: str | None = None,
        data_preprocessor: dict | None = None,
        **encoder_decoder: Any,
    ) -> None:
        self._check_names(encoder_decoder)
        data_preprocessor = dict(data_preprocessor or dict(type='SegDataPreProcessor'))
        if type_name(data_preprocessor) == 'SegDataPreProcessor':
            data_preprocessor['type'] = 'SemiDataPreprocessor'
        if isinstance(encoder_decoder.get('decode_head'), list | tuple):
            check_decode_head(encoder_decoder['decode_head'])
        super().__init__(data_preprocessor=data_preprocessor, **encoder_decoder)
        check_decode_head(self.decode_head)
        channels = 0
        if contrastive is not None:
            channels = self._build_representation(representation_head or {})
        self.contrastive = self.build_part(
            contrastive, 'UnreliableContrastiveLoss', num_classes=self.num_classes,
            channels=channels, align_corners=self.align_corners,
        )  # fmt: skip
        self.teacher = self.build_part(teacher, 'Teacher', student=self)
        if self.teacher is not None:
            if self.teacher.norm == 'batch' and not self.teacher_sees_batches:
                raise ValueError(
                    "teacher.norm='batch' needs passes of the teacher in training mode, which "
                    f'{type(self).__name__} does not make: its statistics would never move. Use '
                    "norm='ema'"
                )
            self.predictors = ('teacher', *self.predictors)
        predictor = predictor or self.predictors[0]
        if predictor not in self.predictors:
            raise ValueError(f'predictor={predictor!r} is not one of {self.predictors}')
        self.predictor = predictor

    @staticmethod
    def build_part(settings: dict | None, default: str | None = None, **known: Any) -> Any:
        """Build a registered part from its settings; None without settings.

        Args:
            settings: Its config.
            default: The type if the config has none.
            **known: Arguments that the config need not repeat.
        """
        return None if settings is None else MODELS.build({'type': default, **known, **settings})

    def _check_names(self, given: Iterable[str]) -> None:
        """Raise TypeError, with a setting of a like name, if ``EncoderDecoder`` does not take one."""
        taken = signature(EncoderDecoder.__init__).parameters
        for name in given:
            if name not in taken:
                bases = type(self).__mro__
                known = {word for base in bases for word in signature(base.__init__).parameters}
                near = get_close_matches(name, known - {'self'}, n=1)
                hint = f': is it {near[0]!r}?' if near else ''
                raise TypeError(f'{type(self).__name__} has no setting {name!r}{hint}')

    def _build_representation(self, settings: dict) -> int:
        """Build branch g unless the decode head has one; returns its channels D."""
        if hasattr(self.decode_head, 'forward_with_representation'):
            return self.decode_head.rep_channels
        if not hasattr(self.decode_head, 'conv_seg'):
            raise TypeError(
                f'{type(self.decode_head).__name__} has no conv_seg, whose input the representation '
                'of the contrastive loss is made of: set contrastive=None, or choose another head'
            )
        self.representation_head = self.build_part(
            settings, 'RepresentationHead',
            in_channels=self.decode_head.channels, norm_cfg=self.decode_head.norm_cfg,
        )  # fmt: skip
        return self.representation_head.out_channels

    def predicting(self) -> Sequence[Network]:
        """The networks behind :attr:`predictor`, whose logits are averaged."""
        return (self.labeler() if self.predictor == 'teacher' else self,)

    @property
    def networks(self) -> tuple[SemiNetworks, ...]:
        """The networks that the optimizer trains."""
        return (self,)

    def labeler(self) -> Network:
        """The network that labels: the teacher, or the student itself.

        Raises:
            RuntimeError: A teacher that has not started, in training.
        """
        if self.teacher is not None and self.training and not self.teacher.started:
            raise RuntimeError(
                'the teacher has not started: it cannot teach before the warm-up ends'
            )
        return self.teacher or self

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """A teacher that the checkpoint lacks, or that had not started, is a copy of the student."""
        if self.teacher is not None and not state.get(f'{prefix}teacher.updates'):
            message = 'The checkpoint has no teacher that has started: it is a copy of the student'
            self._copy_student(state, prefix, 'teacher', message)
        super()._load_from_state_dict(state, prefix, *arguments)

    def _copy_student(self, state: dict[str, Any], prefix: str, part: str, message: str) -> None:
        """Give a part of the model the student's weights in a checkpoint, with a warning."""
        names = [name for name in getattr(self, part).state_dict() if prefix + name in state]
        state.update({f'{prefix}{part}.{name}': state[prefix + name] for name in names})
        if names:
            print_log(message, logger='current', level=logging.WARNING)

    def decode(self, network: Network, features: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C, h, w) and, if the network has a branch for it, representation (B, D, h, w)."""
        head = network.decode_head
        if hasattr(head, 'forward_with_representation'):
            return head.forward_with_representation(features)
        branch = getattr(network, 'representation_head', None)
        if branch is None:
            return head(features), None
        logits, feature = logits_and_feature(head, features)
        return logits, branch(feature)

    def upsample(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Logits to image size, as mmseg's heads do it."""
        return resize(logits, size, mode='bilinear', align_corners=self.align_corners)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits at image size from the network that predicts, or the mean of several."""
        return self._predict(
            lambda network: network.decode_head.predict(
                network.extract_feat(inputs), batch_img_metas, self.test_cfg
            )
        )

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        return self._predict(lambda network: network.decode_head(network.extract_feat(inputs)))

    def _predict(self, logits_of: Callable[[Network], Tensor]) -> Tensor:
        logits, *others = map(logits_of, self.predicting())
        return sum(others, logits) / (1 + len(others)) if others else logits

    @record_function('semi/supervised loss')
    def supervised_losses(
        self, features: list[Tensor], logits: Tensor, data_samples: list
    ) -> dict[str, Tensor]:
        """L_s: the losses of mmseg's ``EncoderDecoder``, named ``sup.decode.*`` and ``sup.aux*.*``.

        Args:
            features: Student features; labeled images first in the batch.
            logits: Student logits of the labeled images, (B_l, C, h, w).
            data_samples: The labeled stream's, with ``gt_sem_seg``.
        """
        losses = add_prefix(self.decode_head.loss_by_feat(logits, data_samples), 'decode')
        if self.with_auxiliary_head:
            labeled = [feature[: len(data_samples)] for feature in features]
            losses.update(self._auxiliary_head_forward_train(labeled, data_samples))
        return add_prefix(losses, 'sup')

    @record_function('semi/contrastive loss')
    def contrast(self, rep: Tensor | None, *teacher_and_labels: Tensor | None) -> dict[str, Tensor]:
        """λ_c·L_c and the bank's fill, or 0 · z without a contrastive loss.

        Args:
            rep: Student representations (B, D, h, w), labeled images first; None: no branch g.
            *teacher_and_labels: What ``UnreliableContrastiveLoss`` takes after it.
        """
        if rep is None:
            return {}
        if self.contrastive is None:  # DDP hangs on a branch that has no gradient
            return {'contrast.loss_nce': 0.0 * rep.sum()}
        loss = self.contrastive(rep, *teacher_and_labels)
        return {'contrast.loss_nce': loss, 'semi/bank_fill': self.contrastive.bank.fill()}

    @record_function('semi/selection')
    def measure(self, function: Any, logits: Tensor, size: Sequence[int]) -> Tensor:
        """A function of logits (B, C, h, w) at image size: (B, H, W), without maps of all classes."""
        return by_images(function, logits, size, self.align_corners)
