"""PhotometricView: each strength by value, ranges, and one draw an image."""

from typing import Any

import pytest
import tiny
import torch

from mmseg_u2pl.functional import color_jitter, gaussian_blur, shift_hue, to_gray
from mmseg_u2pl.models import PhotometricView, SemiDataPreprocessor

NOTHING: dict[str, Any] = dict(
    jitter_prob=0.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, gray_prob=0.0,
    blur_prob=0.0,
)  # fmt: skip


def view(**settings):
    """A view that does nothing but ``settings``."""
    return PhotometricView(**{**NOTHING, **settings})


@pytest.fixture
def images():
    return torch.rand(40, 3, 12, 14, generator=torch.Generator().manual_seed(0))


def factors(changed, images):
    """The factor of each image where it was not clamped, and whether it is one factor."""
    ratio = (changed / images).flatten(1)
    inside = (changed > 0) & (changed < 1)
    ratio = ratio.masked_fill(~inside.flatten(1), float('nan'))
    return ratio.nanmedian(1).values, ratio


def test_nothing_is_nothing(images):
    assert torch.equal(view()(images), images)
    torch.testing.assert_close(view(jitter_prob=1.0)(images), images)


def test_brightness_is_a_factor_an_image_within_its_bounds(images):
    factor, ratio = factors(view(jitter_prob=1.0, brightness=0.4)(images), images)
    assert factor.min() == pytest.approx(0.6, abs=0.08)
    assert factor.max() == pytest.approx(1.4, abs=0.08)
    error = (ratio - factor[:, None]).abs()
    assert error[error.isfinite()].max() < 1e-4


def test_contrast_keeps_the_mean_and_saturation_the_gray(images):
    images = images * 0.2 + 0.4  # nothing is clamped
    changed = view(jitter_prob=1.0, contrast=0.5)(images)
    torch.testing.assert_close(to_gray(changed).mean((1, 2, 3)), to_gray(images).mean((1, 2, 3)))
    spread = to_gray(changed).std((1, 2, 3)) / to_gray(images).std((1, 2, 3))
    assert 0.5 <= spread.min() < 0.6
    assert 1.4 < spread.max() <= 1.5
    changed = view(jitter_prob=1.0, saturation=0.5)(images)
    torch.testing.assert_close(to_gray(changed), to_gray(images))
    chroma = [maps.amax(1) - maps.amin(1) for maps in (changed, images)]
    share = (chroma[0] / chroma[1]).flatten(1).median(1).values
    assert 0.5 <= share.min() < 0.6
    assert 1.4 < share.max() <= 1.5


def test_hue_turns_within_its_bounds_and_keeps_brightest_and_darkest():
    red = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1).expand(300, 3, 6, 6)
    turned = view(jitter_prob=1.0, hue=0.1)(red)[:, :, 0, 0]
    torch.testing.assert_close(turned.amax(1), torch.full((300,), 0.8))
    torch.testing.assert_close(turned.amin(1), torch.full((300,), 0.2))
    # 0.1 of a turn is 0.6 of the sixth in which green, or blue, rises by 0.6
    rise = turned[:, 1] - turned[:, 2]
    assert rise.max() == pytest.approx(0.36, abs=0.02)
    assert rise.min() == pytest.approx(-0.36, abs=0.02)
    assert rise.mean().item() == pytest.approx(0, abs=4 * 0.36 / 3**0.5 / 300**0.5)


def test_gray_and_blur_by_value(images):
    gray = view(gray_prob=1.0)(images)
    torch.testing.assert_close(gray, to_gray(images).expand_as(images))
    blurred = view(blur_prob=1.0, blur_sigma=(1.3, 1.3))(images)
    torch.testing.assert_close(blurred, gaussian_blur(images, torch.full((40,), 1.3)))


def test_order_jitter_hue_gray_blur(images, monkeypatch):
    """One image with fixed draws, done by hand."""
    monkeypatch.setattr(torch, 'rand', lambda *size, **_: torch.full(size, 0.25))
    changed = PhotometricView(blur_sigma=(0.5, 2.5))(images)
    half = torch.full((40,), 0.75)  # 1 − 0.5 + 0.25 · 1
    expected = shift_hue(color_jitter(images, half, half, half), torch.full((40,), -0.125))
    torch.testing.assert_close(changed, gaussian_blur(expected, torch.full((40,), 1.0)))


def test_probabilities_of_the_defaults():
    images = torch.rand(1, 3, 12, 12).expand(2000, -1, -1, -1)
    changed = PhotometricView()(images)
    gray = (changed - changed.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-5
    assert 0.17 < gray.float().mean() < 0.23
    unchanged = (changed == images).flatten(1).all(1)  # .2 · .8 · .5 of them
    assert 0.06 < unchanged.float().mean() < 0.1


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_it_stays_an_image_and_the_input_is_kept(images, dtype):
    images = images.to(dtype)
    before = images.clone()
    for _ in range(5):
        changed = PhotometricView(hue=0.5)(images)
        assert changed.shape == images.shape
        assert changed.dtype == dtype
        assert changed.min() >= 0
        assert changed.max() <= 1 + 1e-6  # the kernel of a blur is rounded
    assert torch.equal(images, before)


def test_edges_stay_where_they_are():
    # left half dark, right half bright: in every view the left is the darker one
    images = torch.full((8, 3, 32, 32), 0.2)
    images[..., 16:] = 0.8
    for _ in range(10):
        changed = PhotometricView()(images)
        assert (changed[..., :11].mean((1, 2, 3)) < changed[..., 21:].mean((1, 2, 3))).all()


def test_views_differ_by_image_and_by_draw(images):
    same = images[:1].expand(3, -1, -1, -1)
    first, second = PhotometricView(jitter_prob=1.0)(same), PhotometricView(jitter_prob=1.0)(same)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[0], first[1])


def test_autocast_rounds_no_image(images):
    results = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            results.append(PhotometricView()(images))
    assert results[1].dtype == torch.float32
    assert torch.equal(*results)


@pytest.mark.parametrize('rgb', [True, False])
def test_a_strong_view_changes_colors_in_the_scale_of_normalized_images(rgb):
    preprocessor = SemiDataPreprocessor(
        mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0], size=tiny.CROP, bgr_to_rgb=rgb
    )
    mean, std = preprocessor.mean, preprocessor.std
    pixels = torch.rand(4, 3, *tiny.CROP) * 255
    images = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(preprocessor.unit_range(images), pixels / 255)
    strong = preprocessor.strong_view(images, view(gray_prob=1.0))
    gray = to_gray(pixels if rgb else pixels.flip(1)).expand(-1, 3, -1, -1)
    torch.testing.assert_close(strong, (gray - mean) / std, rtol=1e-4, atol=1e-4)
    assert strong.is_contiguous(memory_format=torch.channels_last)
    assert preprocessor.strong_view(images, None) is images


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('jitter_prob', 1.1),
        ('gray_prob', -0.1),
        ('blur_prob', 2),
        ('brightness', 1.5),
        ('contrast', -1),
        ('saturation', 1.01),
        ('hue', 0.6),
        ('blur_sigma', (2.0, 0.1)),
        ('blur_sigma', (0.0, 1.0)),
    ],
)
def test_a_strength_outside_its_range_is_named(name, value):
    tiny.assert_raises(ValueError, lambda: PhotometricView(**{name: value}), name, value)
