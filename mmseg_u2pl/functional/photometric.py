"""Strong photometric views: the geometry stays, colors and sharpness do not."""

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
    """
    brightness, contrast, saturation = (
        factor.to(images.dtype).view(-1, 1, 1, 1) for factor in (brightness, contrast, saturation)
    )
    images = (images * brightness).clamp(0, 1)
    mean = to_gray(images).mean((1, 2, 3), keepdim=True)
    images = torch.lerp(mean, images, contrast).clamp(0, 1)
    return torch.lerp(to_gray(images), images, saturation).clamp(0, 1)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each image; borders are mirrored.

    Args:
        images: (B, C, H, W), floating, higher and wider than ``BLUR_RADIUS``.
        sigma: Standard deviations (B,), pixels, above 0.
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


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue (HSV, Smith, SIGGRAPH 1978) of each image.

    Args:
        images: RGB (B, 3, H, W) in [0, 1], floating.
        shift: Turns (B,); 0 and 1 change nothing, 1/3 makes red green.
    """
    red, green, blue = images.unbind(1)
    value, darkest = images.amax(1), images.amin(1)
    chroma = value - darkest
    safe = chroma.masked_fill(chroma == 0, 1)
    sixth = torch.where(
        value == red,
        ((green - blue) / safe) % 6,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )  # hue in sixths of a turn (B, H, W)
    sixth = sixth + 6 * shift.to(images.dtype).view(-1, 1, 1)
    # made on the device: a copy from the host would wait for it
    offset = torch.arange(5, 0, -2, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    place = (offset + sixth.unsqueeze(1)) % 6
    ramp = torch.minimum(place, 4 - place).clamp(0, 1)
    return value.unsqueeze(1) - chroma.unsqueeze(1) * ramp


def to_gray(images: Tensor) -> Tensor:
    """RGB (B, 3, H, W) → gray (B, 1, H, W), ITU-R BT.601."""
    red, green, blue = (share * part for share, part in zip(LUMA, images.unbind(1), strict=True))
    return (red + green + blue).unsqueeze(1)
