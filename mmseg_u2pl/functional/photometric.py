"""Strong photometric views: the geometry stays, colors and sharpness do not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Gray of an RGB pixel (ITU-R BT.601)."""
BLUR_RADIUS = 4
"""Half width of the blur's kernel, pixels: two standard deviations of the widest blur."""


def color_jitter(
    images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor
) -> Tensor:
    """Scale brightness, contrast and saturation, one factor each an image, in this order.

    Args:
        images: RGB (B, 3, H, W) in [0, 1], floating.
        brightness: Factors (B,); 1 changes nothing, 0 is black.
        contrast: Factors (B,); 0 is the image's mean gray everywhere.
        saturation: Factors (B,); 0 is gray.

    Returns:
        Images in [0, 1], the shape of the input.
    """
    brightness, contrast, saturation = (
        factor.to(images.dtype).view(-1, 1, 1, 1) for factor in (brightness, contrast, saturation)
    )
    images = (images * brightness).clamp(0, 1)
    mean = _gray(images).mean((1, 2, 3), keepdim=True)
    images = torch.lerp(mean, images, contrast).clamp(0, 1)
    return torch.lerp(_gray(images), images, saturation).clamp(0, 1)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image by its own standard deviation.

    Args:
        images: (B, C, H, W), floating, higher and wider than ``BLUR_RADIUS``.
        sigma: Standard deviations (B,), pixels, above 0.

    Returns:
        (B, C, H, W); borders are mirrored.
    """
    batch, channels = images.shape[:2]
    steps = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=images.device)
    kernel = torch.exp(-0.5 * (steps / sigma[:, None]).square())  # (B, K)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(images.dtype)
    kernel = kernel.repeat_interleave(channels, 0)[:, None, None]  # (B·C, 1, 1, K)
    padded = F.pad(images, (BLUR_RADIUS,) * 4, mode='reflect').flatten(0, 1)[None]
    with torch.autocast(images.device.type, enabled=False):  # pictures keep their 8 bits
        rows = F.conv2d(padded, kernel, groups=batch * channels)
        blurred = F.conv2d(rows, kernel.transpose(2, 3), groups=batch * channels)
    return blurred.view_as(images)


def photometric_view(images: Tensor) -> Tensor:
    """The strong view of the field (FixMatch for segmentation, UniMatch): every image its own.

    With probability 0.8 brightness, contrast and saturation are scaled by factors in
    [0.5, 1.5]; with 0.2 the image turns gray; with 0.5 it is blurred, σ in [0.1, 2] pixels.

    Args:
        images: RGB (B, 3, H, W) in [0, 1], floating. Randomness is torch's, on their device.

    Returns:
        Images in [0, 1], the shape of the input.
    """
    batch, device = len(images), images.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(batch, device=device) * (high - low) + low

    def sometimes(prob: float, changed: Tensor, unchanged: Tensor) -> Tensor:
        return torch.where(torch.rand(batch, 1, 1, 1, device=device) < prob, changed, unchanged)

    jittered = color_jitter(images, uniform(0.5, 1.5), uniform(0.5, 1.5), uniform(0.5, 1.5))
    view = sometimes(0.8, jittered, images)
    view = sometimes(0.2, _gray(view).expand_as(view), view)
    return sometimes(0.5, gaussian_blur(view, uniform(0.1, 2.0)), view)


def _gray(images: Tensor) -> Tensor:
    """RGB (B, 3, H, W) → (B, 1, H, W)."""
    with torch.autocast(images.device.type, enabled=False):
        return torch.einsum('bchw,c->bhw', images, images.new_tensor(LUMA))[:, None]
