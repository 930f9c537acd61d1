"""Photometric changes: values by hand, and by other libraries."""

import colorsys

import cv2
import numpy as np
import pytest
import torch

from mmseg_u2pl.functional import color_jitter, gaussian_blur, shift_hue, to_gray
from mmseg_u2pl.functional.photometric import BLUR_RADIUS


def factors(*values):
    return torch.tensor(values)


def jitter(images, brightness=1.0, contrast=1.0, saturation=1.0):
    count = len(images)
    return color_jitter(
        images, *(torch.full((count,), f) for f in (brightness, contrast, saturation))
    )


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 20, generator=torch.Generator().manual_seed(0))


def test_factors_of_one_change_nothing(images):
    torch.testing.assert_close(jitter(images), images)


def test_jitter_by_hand():
    # one image of two pixels, (.2, .4, .6) and (.6, .6, .6)
    images = torch.tensor([[0.2, 0.6], [0.4, 0.6], [0.6, 0.6]])[None, :, None]
    expected = (images * 2).clamp(max=1)
    torch.testing.assert_close(jitter(images, brightness=2.0), expected)
    # gray .299·.2 + .587·.4 + .114·.6 = .363 and .6; mean .4815
    torch.testing.assert_close(jitter(images, contrast=0.5), 0.5 * images + 0.5 * 0.4815)
    gray = torch.tensor([0.363, 0.6]).expand(1, 3, 1, 2)
    torch.testing.assert_close(jitter(images, saturation=0.0), gray)
    torch.testing.assert_close(jitter(images, saturation=0.5), 0.5 * images + 0.5 * gray)


def test_every_image_has_its_own_factors(images):
    ones = torch.ones(3)
    changed = color_jitter(images, factors(1.0, 0.5, 0.0), ones, ones)
    torch.testing.assert_close(changed, images * factors(1.0, 0.5, 0.0).view(3, 1, 1, 1))


@pytest.mark.parametrize('sigma', [0.5, 1.0, 2.0])
def test_blur_agrees_with_opencv(images, sigma):
    blurred = gaussian_blur(images, factors(sigma, sigma, sigma))
    size = 2 * BLUR_RADIUS + 1
    for image, own in zip(images, blurred, strict=True):
        expected = cv2.GaussianBlur(
            image.permute(1, 2, 0).numpy(), (size, size), sigma, borderType=cv2.BORDER_REFLECT_101
        )
        np.testing.assert_allclose(own.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_every_image_has_its_own_blur(images):
    together = gaussian_blur(images, factors(0.3, 1.0, 2.0))
    for index, sigma in enumerate((0.3, 1.0, 2.0)):
        alone = gaussian_blur(images[index : index + 1], factors(sigma))
        torch.testing.assert_close(together[index : index + 1], alone)


# ------------------------------------------------------------------------------------ hue
def pixel(*values):
    """One pixel as an image (1, 3, 1, 1)."""
    return torch.tensor(values).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ('color', 'shift', 'expected'),
    [
        ((1.0, 0.0, 0.0), 1 / 3, (0.0, 1.0, 0.0)),  # red to green
        ((1.0, 0.0, 0.0), -1 / 3, (0.0, 0.0, 1.0)),
        ((1.0, 0.0, 0.0), 0.5, (0.0, 1.0, 1.0)),
        ((0.8, 0.2, 0.2), 1 / 6, (0.8, 0.8, 0.2)),  # brightest and darkest stay
        ((0.4, 0.4, 0.4), 0.3, (0.4, 0.4, 0.4)),  # gray has no hue
        ((0.0, 0.0, 0.0), 0.3, (0.0, 0.0, 0.0)),
    ],
)
def test_hue_by_hand(color, shift, expected):
    turned = shift_hue(pixel(*color), factors(shift))
    torch.testing.assert_close(turned, pixel(*expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize('shift', [-0.5, -0.25, 0.0, 0.1, 0.49, 1.0])
def test_hue_agrees_with_colorsys(images, shift):
    images[0, :, 0, 0] = torch.tensor([0.7, 0.7, 0.1])  # two brightest channels
    images[0, :, 0, 1] = torch.tensor([0.3, 0.9, 0.9])
    turned = shift_hue(images, factors(shift, shift, shift))
    for image, other in zip(images, turned, strict=True):
        colors = zip(image.flatten(1).T.tolist(), other.flatten(1).T.tolist(), strict=True)
        for color, got in colors:
            hue, saturation, value = colorsys.rgb_to_hsv(*color)
            expected = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
            assert got == pytest.approx(expected, abs=1e-5)


def test_every_image_has_its_own_hue(images):
    turned = shift_hue(images, factors(0.0, 0.2, 0.4))
    torch.testing.assert_close(turned[0], images[0])
    torch.testing.assert_close(turned[1:2], shift_hue(images[1:2], factors(0.2)))


def test_gray_by_hand():
    assert to_gray(pixel(1.0, 0.0, 0.0)).item() == pytest.approx(0.299)
    assert to_gray(pixel(0.0, 1.0, 0.0)).item() == pytest.approx(0.587)
    assert to_gray(pixel(0.5, 0.5, 0.5)).item() == pytest.approx(0.5)


def test_autocast_rounds_no_image(images):
    """Changes have the same values with and without mixed precision."""
    calls = (
        lambda: gaussian_blur(images, factors(0.3, 1.0, 2.0)),
        lambda: shift_hue(images, factors(0.1, 0.2, 0.3)),
        lambda: jitter(images, 0.7, 0.8, 0.9),
    )
    for call in calls:
        expected = call()
        with torch.autocast('cpu', torch.bfloat16):
            changed = call()
        assert changed.dtype == torch.float32
        assert torch.equal(changed, expected)
