"""Strong views: the geometry stays, colors and sharpness change."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import color_jitter, gaussian_blur, shift_hue, to_gray
from ..settings import at_most, rising


@MODELS.register_module()
class PhotometricView(nn.Module):
    """Color jitter, gray and blur, drawn for each image (UniMatch, CVPR 2023).

    Args:
        jitter_prob: Probability of brightness, contrast, saturation and hue together.
        brightness: b: the factor is uniform in [1 − b, 1 + b].
        contrast: As ``brightness``.
        saturation: As ``brightness``.
        hue: h: the hue is turned by a uniform share in [−h, h] of a whole turn.
        gray_prob: Probability of a gray image.
        blur_prob: Probability of a Gaussian blur.
        blur_sigma: Bounds of its standard deviation, uniform, pixels.

    Raises:
        ValueError: A probability outside [0, 1], or a strength outside its range.
    """

    def __init__(
        self,
        jitter_prob: float = 0.8,
        brightness: float = 0.5,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.25,
        gray_prob: float = 0.2,
        blur_prob: float = 0.5,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        super().__init__()
        at_most(1, jitter_prob=jitter_prob, gray_prob=gray_prob, blur_prob=blur_prob)
        at_most(1, brightness=brightness, contrast=contrast, saturation=saturation)
        at_most(0.5, hue=hue)
        rising(blur_sigma=blur_sigma)
        self.jitter_prob = jitter_prob
        self.strengths = (brightness, contrast, saturation)
        self.hue = hue
        self.gray_prob = gray_prob
        self.blur_prob = blur_prob
        self.blur_sigma = blur_sigma

    def forward(self, images: Tensor) -> Tensor:
        """RGB images (B, 3, H, W) in [0, 1] → the same with other colors, in [0, 1]."""
        batch, device = len(images), images.device

        def uniform(low: float, high: float) -> Tensor:
            return torch.rand(batch, device=device) * (high - low) + low

        def sometimes(prob: float, changed: Tensor, unchanged: Tensor) -> Tensor:
            drawn = torch.rand(batch, 1, 1, 1, device=device) < prob
            return torch.where(drawn, changed, unchanged)

        factors = [uniform(1 - strength, 1 + strength) for strength in self.strengths]
        jittered = color_jitter(images, *factors)
        if self.hue:
            jittered = shift_hue(jittered, uniform(-self.hue, self.hue))
        view = sometimes(self.jitter_prob, jittered, images)
        view = sometimes(self.gray_prob, to_gray(view).expand_as(view), view)
        return sometimes(self.blur_prob, gaussian_blur(view, uniform(*self.blur_sigma)), view)
