"""The batch of a training step, and what tools get from a method."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ...functional import IGNORE


class SemiBatch(NamedTuple):
    """The two streams of a training step."""

    images_l: Tensor  # labeled, (B_l, 3, H, W)
    labels: Tensor  # (B_l, H, W), 255 = ignored
    samples_l: list  # mmseg's data samples of the labeled images
    images_u: Tensor  # unlabeled, (B_u, 3, H, W)
    valid: Tensor  # boolean (B_u, H, W), False on padding


class Taught(NamedTuple):
    """The unlabeled images of a step in one view, and what the network that labels says of them."""

    images: Tensor  # (B_u, 3, H, W)
    label: Tensor  # ŷ, long (B_u, H, W), 255 on padding
    measure: Tensor  # what the selection compares with a threshold, (B_u, H, W)
    logits: Tensor  # (B_u, C, h, w); with a contrastive loss (B_l + B_u, C, h, w), labeled first
    rep: Tensor | None  # (B_l + B_u, D, h, w); None without a contrastive loss


class PseudoLabels(NamedTuple):
    """The labels that a network gives images, and which of them are used."""

    label: Tensor  # long (B, H, W), 255 on padding
    keep: Tensor  # boolean (B, H, W), False where unreliable and on padding
    prob: Tensor  # (B, C, H, W), of the network that labels

    @classmethod
    def of(cls, prob: Tensor, valid: Tensor) -> PseudoLabels:
        """The most probable class of each valid pixel, all of them kept."""
        return cls(prob.argmax(1).masked_fill(~valid, IGNORE), valid, prob)


class View(NamedTuple):
    """Images as a network sees them in training."""

    title: str
    images: Tensor  # (B, 3, H, W), normalized
    valid: Tensor  # boolean (B, H, W)
    masks: Tensor | None = None  # boolean (B, H, W), True where another image shows
