"""What methods that learn hard pseudo-labels on mixed images share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from ...functional import IGNORE, apply_mix, hard_labels, nearest, pseudo_label_loss
from ..parts.alignment import ClassAlignment
from ..parts.mixing import Mix
from ..parts.selection import Selection
from ..parts.views import PhotometricView
from .batch import PseudoLabels, SemiBatch, Taught, View
from .semi import SemiSegmentor


class PseudoLabelSegmentor(SemiSegmentor):
    """A :class:`SemiSegmentor` made of a selection, a mix, a view and an alignment.

    Args:
        selection: Settings of ``EntropyPercentile`` or ``ConfidenceThreshold``: which pseudo-labels
            are used.
        mix: Settings of ``CutMix`` or ``ClassMix``; None: unlabeled images are not mixed.
        view: Settings of ``PhotometricView``, through which the student sees the mixed images;
            None: as they are.
        alignment: Settings of ``ClassAlignment``; None: pseudo-labels are not aligned.
        **semi: As in :class:`SemiSegmentor`.
    """

    zero_warnings = {
        'semi/reliable_share': 'no pseudo-label is believed, the unlabeled images teach nothing. '
        'Lower the threshold of model.selection, or train longer on the labels alone '
        '(model.warmup_iters)'
    }
    selection: Selection
    mix: Mix | None
    view: PhotometricView | None
    alignment: ClassAlignment | None

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
        self.mix = self.build_part(mix)
        self.view = self.build_part(view)
        self.alignment = self.build_part(alignment, num_classes=self.num_classes)

    # ---------------------------------------------------------------- steps of a method
    def warmup_step(self, batch: SemiBatch) -> dict[str, Tensor]:
        """Labeled images alone; the alignment counts their labels."""
        if self.alignment is not None:
            self.alignment.observe_labels(batch.labels)
        return super().warmup_step(batch)

    @record_function('semi/teacher')
    @torch.no_grad()
    def label_pass(
        self, images: Tensor, representation: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """A forward of the network that labels, by running statistics and without dropout.

        Images (B, 3, H, W) → logits (B, C, h, w) and, if asked for, representations (B, D, h, w).
        """
        with evaluating(self.labeler()) as network:
            features = network.extract_feat(images)
            if representation:
                outputs = self.decode(network, features)
            else:
                outputs = network.decode_head(features), None
        # casts of weights made here have no gradient: the student must not take them again
        torch.clear_autocast_cache()
        return outputs

    @record_function('semi/selection')
    def label(self, logits: Tensor, batch: SemiBatch) -> Tensor:
        """ŷ of a training step, long (B_u, H, W), 255 on padding, from logits (B_u, C, h, w).

        The alignment takes note of its classes.
        """
        if self.alignment is not None:
            self.alignment.observe_labels(batch.labels)
            self.alignment.observe_predictions(logits.argmax(1), batch.valid)
        return self._label(logits, batch.valid)

    def _label(self, logits: Tensor, valid: Tensor) -> Tensor:
        """ŷ (B, H, W) from logits (B, C, h, w), aligned where there is an alignment."""
        if self.alignment is not None:
            logits = self.alignment(logits)
        label = hard_labels(logits, valid.shape[1:], self.align_corners)
        return label.masked_fill(~valid, IGNORE)

    def measure_of(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """What the selection compares (B, H, W), of logits (B, C, h, w) before the alignment."""
        if self.alignment is not None and self.selection.of_label:
            logits = self.alignment(logits)
        return self.measure(self.selection.measure, logits, size)

    def mix_masks(self, label: Tensor) -> Tensor | None:
        """Where each image of a step shows the next one, boolean (B, H, W); None: nowhere."""
        return None if self.mix is None else self.mix(label)

    def weak_view(self, batch: SemiBatch) -> Taught:
        """The unlabeled images as they are, from one pass of the network that labels.

        With a contrastive loss the pass includes the labeled images.
        """
        contrasts = self.contrastive is not None
        labeled = batch.images_l if contrasts else batch.images_l[:0]  # L_c alone asks about them
        logits, rep = self.label_pass(torch.cat((labeled, batch.images_u)), contrasts)
        weak = logits[len(labeled) :]
        label = self.label(weak, batch)
        measure = self.measure_of(weak, label.shape[1:])
        return Taught(batch.images_u, label, measure, logits, rep)

    def strong_view(self, weak: Taught) -> Taught:
        """A strong view of mixed images, drawn at each call; what is known is mixed alike."""
        masks, logits, rep = self.mix_masks(weak.label), weak.logits, weak.rep
        images, label, measure = mixed(masks, weak.images, weak.label, weak.measure)
        if rep is not None:
            num_l = len(rep) - len(images)
            logits, rep = (
                torch.cat((maps[:num_l], *mixed(masks, maps[num_l:]))) for maps in (logits, rep)
            )
        images = self.data_preprocessor.strong_view(images, self.view)
        return Taught(images, label, measure, logits, rep)

    def consistency(self, logits: Tensor, view: Taught) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Σ CE·1[reliable] / Σ 1[valid] of student logits (B_u, C, h, w) of a view.

        Returns:
            The loss; where pseudo-labels are unreliable, boolean (B_u, H, W); what is logged of it.
        """
        unreliable, threshold = self.selection(view.measure, view.label, self.progress)
        num_valid = (view.label != IGNORE).sum().clamp(min=1)
        with record_function('semi/unsupervised loss'):
            reliable = view.label.masked_fill(unreliable, IGNORE)
            loss, _ = pseudo_label_loss(logits, reliable, IGNORE, align_corners=self.align_corners)
        watched = {
            'semi/threshold': threshold,
            'semi/reliable_share': 1 - unreliable.sum() / num_valid,
        }
        return loss / num_valid, unreliable, watched

    # ---------------------------------------------------------------- before training, and tools
    def check(self, runner: Any) -> None:
        """As in :class:`SemiSegmentor`; warn of a batch in which nothing can be mixed."""
        super().check(runner)
        loader = runner.train_dataloader
        if self.mix is not None:
            ratio = loader.sampler.ratio
            self.mix.check(loader.batch_size // sum(ratio) * ratio[1])

    def pseudo_labels(self, images: Tensor, valid: Tensor) -> dict[str, PseudoLabels]:
        """With what the selection keeps at this point of training."""
        size, (logits, _) = images.shape[2:], self.label_pass(images)
        label = self._label(logits, valid)
        measure = self.measure_of(logits, size)
        unreliable, _ = self.selection(measure, label, max(self.progress, 0.0))
        prob = self.upsample(logits.float(), size).softmax(1)
        name = 'student' if self.teacher is None else 'teacher'
        return {name: PseudoLabels(label, valid & ~unreliable, prob)}

    @torch.no_grad()
    def training_views(self, batch: SemiBatch) -> list[View]:
        """The mixed images and their strong view, as far as the method has them."""
        images, valid, views = batch.images_u, batch.valid, []
        if self.mix is not None and self.mix.prob > 0:
            masks = self.mix.masks(self._label(self.label_pass(images)[0], valid))
            images, valid = apply_mix(masks, images, valid)
            title = f'{type(self.mix).__name__}\n{self.mix.prob:.0%}'
            views.append(View(title, images, valid, masks))
        if self.view is not None:
            strong = self.data_preprocessor.strong_view(images, self.view)
            views.append(View('strong view', strong, valid))
        return views


@record_function('semi/views')
def mixed(masks: Tensor | None, *maps: Tensor) -> tuple[Tensor, ...]:
    """Maps (B, ..., h, w) of any size, mixed by masks (B, H, W); without masks as they are."""
    if masks is None:
        return maps
    return tuple(apply_mix(nearest(masks, m.shape[-2:]), m)[0] for m in maps)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[Any]:
    """A network in eval mode, and afterwards in the modes that its modules had."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield network
    finally:
        for module, mode in modes:
            module.training = mode
