"""What methods that learn hard pseudo-labels on mixed images share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import IGNORE, apply_mix, hard_labels, nearest
from .batch import PseudoLabels, SemiBatch, View
from .networks import Network
from .semi import SemiSegmentor


class PseudoLabelSegmentor(SemiSegmentor):
    """A :class:`SemiSegmentor` made of a selection, a mix, a view and an alignment.

    Args:
        selection: Settings of ``EntropyPercentile`` or ``ConfidenceThreshold``: which pseudo-labels
            are believed.
        mix: Settings of ``CutMix`` or ``ClassMix``; None: unlabeled images are not mixed.
        view: Settings of ``PhotometricView``, through which the student sees the mixed images;
            None: as they are.
        alignment: Settings of ``ClassAlignment``; None: pseudo-labels are not aligned.
        **semi: As in :class:`SemiSegmentor`.
    """

    def __init__(
        self,
        *,
        selection: dict,
        mix: dict | None = None,
        view: dict | None = None,
        alignment: dict | None = None,
        **semi: Any,
    ) -> None:
        super().__init__(**semi)
        self.selection = self.build_part(selection)
        self.mix = self._optional(mix, num_classes=self.num_classes)
        self.view = self._optional(view)
        self.alignment = self._optional(alignment, num_classes=self.num_classes)

    def _optional(self, settings: dict | None, **known: Any) -> nn.Module | None:
        if settings is None:
            return None
        takes = MODELS.get(settings['type']).__init__.__code__.co_varnames
        known = {key: value for key, value in known.items() if key in takes}
        return self.build_part(settings, **known)

    # ---------------------------------------------------------------- steps of a method
    @property
    def labeler(self) -> Network:
        """The network that gives the pseudo-labels: the teacher, or the student itself."""
        return self if self.teacher is None else self.network('teacher')

    @torch.no_grad()
    def label_logits(self, images: Tensor) -> Tensor:
        """Logits (B, C, h, w) of clean images, by running statistics and without dropout."""
        with evaluating(self.labeler) as network:
            return network.decode_head(network.extract_feat(images))

    def label(self, logits: Tensor, valid: Tensor) -> Tensor:
        """ŷ (B, H, W) from logits (B, C, h, w), aligned where there is an alignment; 255 on padding.

        Args:
            logits: Of the network that labels.
            valid: Boolean (B, H, W), False on padding.
        """
        if self.alignment is not None:
            logits = self.alignment(logits)
        label = hard_labels(logits, valid.shape[1:], self.align_corners)
        return label.masked_fill(~valid, IGNORE)

    def mix_masks(self, label: Tensor) -> Tensor | None:
        """Where each image of a step shows the next one, boolean (B, H, W); None: nowhere.

        Args:
            label: Pseudo-labels (B, H, W), of which ClassMix takes classes.
        """
        return None if self.mix is None else self.mix(label)

    # ---------------------------------------------------------------- before training, and tools
    def check(self, runner: Any) -> None:
        """Warn of a batch in which nothing can be mixed."""
        loader = runner.train_dataloader
        labeled, unlabeled = loader.sampler.ratio
        if self.mix is not None:
            self.mix.check(loader.batch_size // (labeled + unlabeled) * unlabeled)

    @torch.no_grad()
    def pseudo_labels(self, images: Tensor, valid: Tensor | None = None) -> dict[str, PseudoLabels]:
        """As in :class:`SemiSegmentor`, with what the selection keeps at this point of training."""
        if valid is None:
            valid = images.new_ones(images[:, 0].shape, dtype=torch.bool)
        size, logits = images.shape[2:], self.label_logits(images)
        label = self.label(logits, valid)
        measure = self.measure(self.selection.measure, logits, size)
        unreliable, _ = self.selection(measure, label, max(self.progress, 0.0))
        prob = self.upsample(logits.float(), size).softmax(1)
        name = 'student' if self.teacher is None else 'teacher'
        return {name: PseudoLabels(label, valid & ~unreliable, prob)}

    @torch.no_grad()
    def training_views(self, batch: SemiBatch) -> list[View]:
        """The mixed images and their strong view, as far as the method has them."""
        images, valid, views = batch.images_u, batch.valid, []
        if self.mix is not None and self.mix.prob > 0:
            masks = self.mix.masks(self.label(self.label_logits(images), valid))
            images, valid = apply_mix(masks, images, valid)
            title = f'{type(self.mix).__name__}\n{self.mix.prob:.0%}'
            views.append(View(title, images, valid, masks))
        if self.view is not None:
            strong = self.data_preprocessor.strong_view(images, self.view)
            views.append(View('strong view', strong, valid))
        return views


def mixed(masks: Tensor | None, *maps: Tensor) -> tuple[Tensor, ...]:
    """Maps (B, ..., h, w) of any size, mixed by masks (B, H, W); without masks as they are."""
    if masks is None:
        return maps
    size = masks.shape[1:]
    return tuple(
        apply_mix(masks if m.shape[-2:] == size else nearest(masks, m.shape[-2:]), m)[0]
        for m in maps
    )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """A network in eval mode, and afterwards in the modes that its modules had."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield network
    finally:
        for module, mode in modes:
            module.training = mode
