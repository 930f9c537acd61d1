"""Mixing of unlabeled images: image i takes pixels of image (i + 1) mod B."""

import warnings

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import IGNORE, box_masks, class_mix_masks, cutmix_boxes, random_boxes
from ..settings import at_most, rising


class Mix(nn.Module):
    """What CutMix and ClassMix share: how often, and a check of the batch.

    Args:
        prob: Probability that the images of a step are mixed.

    Raises:
        ValueError: ``prob`` outside [0, 1].
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__()
        at_most(1, **{'mix.prob': prob})
        self.prob = prob

    def forward(self, label: Tensor) -> Tensor | None:
        """Where image i shows image (i + 1) mod B, boolean (B, H, W); None in a step without.

        Args:
            label: Pseudo-labels (B, H, W), long, 255 where none is.
        """
        return None if torch.rand(()) >= self.prob else self.masks(label)

    def masks(self, label: Tensor) -> Tensor:
        """Masks (B, H, W) of a step that is mixed."""
        raise NotImplementedError

    def check(self, num_unlabeled: int) -> None:
        """Warn if a process has a single unlabeled image in a batch, so that nothing is mixed."""
        if num_unlabeled == 1 and self.prob > 0:
            warnings.warn(
                f'{type(self).__name__} takes pixels from the next unlabeled image, but a batch '
                'has only one: nothing will be mixed. Raise train_dataloader.batch_size or the '
                'second number of sampler.ratio',
                stacklevel=2,
            )


@MODELS.register_module()
class CutMix(Mix):
    """A box of each image shows the next image (Yun et al., ICCV 2019).

    Args:
        prob: Probability of a mixed step, or with ``area`` of each mixed image.
        area: Bounds of the box's share of the image, uniform, and one decision an image (UniMatch:
            ``(0.02, 0.4)``). None: boxes of half the image, and one decision a step (U²PL).
        aspect: Bounds of height / width of the box, uniform; with ``area`` only.

    Raises:
        ValueError: A setting outside its range.
    """

    def __init__(
        self,
        prob: float = 0.5,
        area: tuple[float, float] | None = None,
        aspect: tuple[float, float] = (0.3, 1 / 0.3),
    ) -> None:
        super().__init__(prob)
        rising(1, **{'mix.area': area or (1, 1)})
        rising(**{'mix.aspect': aspect})
        self.area = area
        self.aspect = aspect

    def forward(self, label: Tensor) -> Tensor | None:
        """As in :class:`Mix`; with ``area`` each image is mixed or not for itself."""
        if self.area is None:
            return super().forward(label)
        mixed = torch.rand(len(label)) < self.prob
        return self.masks(label) & mixed.to(label.device, non_blocking=True)[:, None, None]

    def masks(self, label: Tensor) -> Tensor:
        """Boxes, whatever the labels are."""
        num, height, width = label.shape
        if self.area is None:
            boxes = cutmix_boxes(num, height, width)
        else:
            boxes = random_boxes(num, height, width, self.area, self.aspect)
        return box_masks(boxes.to(label.device, non_blocking=True), height, width)


@MODELS.register_module()
class ClassMix(Mix):
    """Half of the classes of the next image are pasted (Olsson et al., WACV 2021)."""

    def masks(self, label: Tensor) -> Tensor:
        """The pixels of half of the next image's classes."""
        return class_mix_masks(label, IGNORE, IGNORE)  # classes are below 255
