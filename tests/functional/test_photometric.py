"""Photometric views: values by hand, ranges, and nothing but colors changes."""

import cv2
import numpy as np
import pytest
import torch

from mmseg_u2pl.functional import color_jitter, gaussian_blur, photometric_view
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


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_the_view_stays_an_image(images, dtype):
    torch.manual_seed(0)
    images = images.to(dtype)
    before = images.clone()
    for _ in range(10):
        view = photometric_view(images)
        assert view.shape == images.shape
        assert view.dtype == dtype
        assert view.min() >= 0
        assert view.max() <= 1
    assert torch.equal(images, before)


def test_edges_stay_where_they_are():
    # left half dark, right half bright: whatever the view, the left stays the darker one
    images = torch.full((8, 3, 32, 32), 0.2)
    images[..., 16:] = 0.8
    torch.manual_seed(0)
    for _ in range(10):
        view = photometric_view(images)
        assert (view[..., :11].mean((1, 2, 3)) < view[..., 21:].mean((1, 2, 3))).all()


def test_views_differ_by_image_and_by_draw(images):
    same = images[:1].expand(3, -1, -1, -1)
    torch.manual_seed(1)
    first, second = photometric_view(same), photometric_view(same)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[0], first[1])


def test_a_fifth_is_gray_and_a_twelfth_is_left_alone():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 12, 12).expand(2000, -1, -1, -1)
    view = photometric_view(images)
    gray = (view - view.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-5
    assert 0.17 < gray.float().mean() < 0.23
    unchanged = (view == images).flatten(1).all(1)  # .2 · .8 · .5 of them
    assert 0.06 < unchanged.float().mean() < 0.1


def test_autocast_rounds_no_picture(images):
    """A view has the same values with and without mixed precision."""
    torch.manual_seed(0)
    expected = photometric_view(images)
    torch.manual_seed(0)
    with torch.autocast('cpu', torch.bfloat16):
        view = photometric_view(images)
    assert view.dtype == torch.float32
    assert torch.equal(view, expected)
