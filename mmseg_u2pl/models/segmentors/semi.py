"""What every semi-supervised segmentor shares: streams, schedule, and what tools call."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from ...functional import IGNORE
from ..settings import not_negative
from .batch import PseudoLabels, SemiBatch, View
from .networks import SemiNetworks


class SemiSegmentor(SemiNetworks):
    """Trains on a labeled and an unlabeled stream.

    A method subclasses it and writes :meth:`semi_step`. ``SemiTrainingHook`` drives it:
    :meth:`begin_run`, then :meth:`before_iter` and :meth:`after_step` around each step.

    Args:
        warmup_iters: Iterations on labeled images alone.
        **networks: As in :class:`SemiNetworks`.

    Raises:
        ValueError: A negative warm-up.
    """

    unlabeled_group: int = 1
    """Unlabeled images that a step takes together: a batch holds a multiple of it."""

    labeled_with_unlabeled: bool = True
    """Whether labeled and unlabeled images are in one pass of the student."""

    student_passes: int = 1
    """Passes of the student in a step."""

    zero_warnings: Mapping[str, str] = {}
    """Logged numbers that should not stay 0, and what it means if one does."""

    def __init__(self, *, warmup_iters: int = 0, **networks: Any) -> None:
        super().__init__(**networks)
        not_negative(warmup_iters=warmup_iters)
        self.warmup_iters = warmup_iters
        self._iteration: int | None = None
        self._max_iters = 0

    # ---------------------------------------------------------------- training, step by step
    def loss(self, inputs: dict[str, Tensor], data_samples: dict[str, list]) -> dict[str, Tensor]:
        """One step; keys with ``loss`` are summed for backward.

        Raises:
            RuntimeError: No ``SemiTrainingHook`` says where training stands.
        """
        if self._iteration is None:
            raise RuntimeError(
                f'{type(self).__name__} does not train without SemiTrainingHook: add '
                "semi_training=dict(type='SemiTrainingHook') to default_hooks"
            )
        batch = self.stream_batch(inputs, data_samples)
        return self.warmup_step(batch) if self.in_warmup else self.semi_step(batch)

    def semi_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """The losses of a step after the warm-up, and what is logged."""
        raise NotImplementedError

    def warmup_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """The losses of a step of the warm-up: labeled images alone."""
        features = self.extract_feat(batch.images_l)
        logits, rep = self.decode(self, features)
        losses = self.supervised_losses(features, logits, batch.samples_l)
        return losses if rep is None else {**losses, 'contrast.loss_nce': 0.0 * rep.sum()}

    def check(self, runner: Any) -> None:
        """Refuse, before training, settings that the method cannot work with.

        Raises:
            ValueError: A warm-up that ends no earlier than the training; checkpointing with several
                passes and processes.
        """
        checkpoints = any(getattr(part, 'with_cp', False) for part in self.modules())
        if checkpoints and self.student_passes > 1 and get_world_size() > 1:
            raise ValueError(
                f'with_cp=True: {type(self).__name__} makes {self.student_passes} passes of the student in a '
                'step, and torch exchanges gradients of checkpointed layers of one pass alone: leave with_cp '
                'out, or train in one process'
            )
        if self.warmup_iters >= runner.max_iters:
            raise ValueError(
                f'model.warmup_iters={self.warmup_iters}, but the training has {runner.max_iters} '
                'iterations: no unlabeled image would teach. Train longer, or shorten the warm-up: '
                '--cfg-options model.warmup_iters=N'
            )

    def begin_run(self, resumed: bool) -> None:
        """State of a run (teacher, bank, running shares) starts again unless the run is resumed."""
        if not resumed:
            for module in self.modules():
                if hasattr(module, 'restart'):
                    module.restart()

    def before_iter(self, iteration: int, max_iters: int) -> None:
        """Iterations done, of how many; at the end of the warm-up the teacher becomes the student."""
        self._iteration, self._max_iters = iteration, max_iters
        if self.teacher is not None and not self.teacher.started and not self.in_warmup:
            self.teacher.start(self)

    def after_step(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        """After an optimizer step, whose outputs these are, the student is averaged into the teacher.

        Returns:
            Numbers to log.
        """
        if self.teacher is None or not self.teacher.started:
            return {}
        return {'semi/ema_momentum': self.teacher.update(self)}

    def before_val(self) -> None:
        """Before it starts, the teacher is scored as a copy of the student."""
        if self.teacher is not None and not self.teacher.started:
            self.teacher.copy_from(self)

    def class_statistics(self) -> dict[str, Tensor]:
        """Numbers of each class (C,) of the last step, for the log."""
        return {} if self.contrastive is None else self.contrastive.counts

    @property
    def iteration(self) -> int:
        """Iterations done; 0 outside of training."""
        return self._iteration or 0  # raises nothing: torch.jit.trace reads every property

    @property
    def progress(self) -> float:
        """t/T in [0, 1], counted from the end of the warm-up; negative during it."""
        return (self.iteration - self.warmup_iters) / max(1, self._max_iters - self.warmup_iters)

    @property
    def in_warmup(self) -> bool:
        """Whether this iteration sees labeled images alone."""
        return self.iteration < self.warmup_iters

    # ---------------------------------------------------------------- what methods and tools use
    def stream_batch(self, inputs: Any, data_samples: Any) -> SemiBatch:
        """The labeled and the unlabeled part of what the data preprocessor returns.

        Raises:
            TypeError: The batch has no streams.
            ValueError: Their crops differ in size.
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
        labels, padding = (
            torch.cat([sample.gt_sem_seg.data for sample in data_samples[name]])
            for name in ('sup', 'unsup')
        )
        return SemiBatch(sup, labels, data_samples['sup'], unsup, padding != IGNORE)

    def pseudo_labels(self, images: Tensor, valid: Tensor) -> dict[str, PseudoLabels]:
        """What teaches in training, by the name of the network that labels; for diagnosis.

        Args:
            images: Normalized unlabeled images (B, 3, H, W).
            valid: Boolean (B, H, W), False on padding.
        """
        raise NotImplementedError(f'{type(self).__name__} does not say what it teaches')

    @torch.no_grad()
    def label_samples(self, samples: Sequence[dict]) -> tuple[Tensor, dict[str, PseudoLabels]]:
        """:meth:`pseudo_labels` of samples of equal size (H, W) from a test pipeline.

        Returns:
            The network's input (B, 3, H', W'), padded at the right and the bottom; labels without
            padding.
        """
        data = {key: [sample[key] for sample in samples] for key in ('inputs', 'data_samples')}
        height, width = data['inputs'][0].shape[1:]
        images = self.data_preprocessor(data, False)['inputs']
        valid = torch.zeros_like(images[:, 0], dtype=torch.bool)
        valid[:, :height, :width] = True
        found = self.pseudo_labels(images, valid)
        return images, {
            name: PseudoLabels(*(maps[..., :height, :width] for maps in labels))
            for name, labels in found.items()
        }

    def training_views(self, batch: SemiBatch) -> list[View]:
        """The views of the unlabeled images that a step shows the student, for drawing."""
        return []
