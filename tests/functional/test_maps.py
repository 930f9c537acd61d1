"""What is computed part by part is what is computed at once."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_u2pl.functional import by_images, enlarge, maps, slices, sum_of_parts

CPU = torch.device('cpu')


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of few elements, so that even small maps need several."""
    monkeypatch.setitem(maps.ELEMENTS, 'cpu', 100)


# ------------------------------------------------------------------------------- slices
def test_slices_by_hand(small_parts):
    assert slices(7, 33, CPU) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert slices(2, 1000, CPU) == [slice(0, 1), slice(1, 2)]  # an item is never cut
    assert slices(3, 1, CPU) == [slice(0, 3)]
    assert slices(0, 5, CPU) == []


# ------------------------------------------------------------------------- sum of parts
def cube(x):
    return (x**3).sum()


def test_value_and_gradient_are_those_of_the_sum():
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    overlapping = [(slice(0, 3), cube), (slice(2, 5), lambda y: 2 * cube(y)), ((..., 1), cube)]
    total = sum_of_parts(x, overlapping)
    expected = cube(x[0:3]) + 2 * cube(x[2:5]) + cube(x[:, 1])
    torch.testing.assert_close(total, expected)
    (gradient,) = torch.autograd.grad(3 * total, x)
    torch.testing.assert_close(gradient, torch.autograd.grad(3 * expected, x)[0])


def test_no_part_keeps_its_graph():
    kept = []

    def part(x):
        wide = x.repeat(1, 1000)
        wide.register_hook(lambda grad: kept.append(len(grad)))  # backward has been
        return wide.sum()

    x = torch.ones(4, 1, requires_grad=True)
    total = sum_of_parts(x, [(slice(0, 1), part), (slice(1, 4), part)])
    assert kept == [1, 3]
    (gradient,) = torch.autograd.grad(total, x)
    assert kept == [1, 3]
    assert gradient.flatten().tolist() == [1000] * 4


def test_without_a_gradient_it_is_a_sum():
    x = torch.ones(3)
    assert sum_of_parts(x, [(slice(0, 2), cube), (slice(2, 3), cube)]).item() == 3
    with torch.no_grad():
        assert not sum_of_parts(x.requires_grad_(), [(slice(0, 3), cube)]).requires_grad


# ------------------------------------------------------------------------------- images
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize('size', [(11, 13), (5, 6)])
def test_an_image_at_a_time_is_what_all_give_together(dtype, size):
    maps = torch.randn(3, 4, 5, 6).to(dtype)
    seen = []

    def top(image):
        seen.append(tuple(image.shape))
        return image.amax(1)

    with torch.autocast('cpu', torch.bfloat16):  # half precision is enlarged in single
        found = by_images(top, maps, size, align_corners=False)
    expected = F.interpolate(maps.float(), size, mode='bilinear').amax(1)
    assert seen == [(1, 4, *size)] * 3
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_corners_may_be_aligned():
    maps = torch.tensor([[[[0.0, 1.0]]]])
    found = by_images(lambda x: x[:, 0], maps, (1, 3), align_corners=True)
    assert found.flatten().tolist() == [0.0, 0.5, 1.0]
    assert enlarge(maps, (1, 2), align_corners=True) is maps


def test_the_gradient_of_a_part_is_not_in_half_precision():
    """Autocast would compute the backward of a product in half precision, as that of L_c."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 8, requires_grad=True), torch.randn(8, 8)

    def part(rows):
        with torch.autocast('cpu', enabled=False):  # as info_nce does
            return (rows @ weight).square().sum() * 1e-3

    with torch.autocast('cpu', torch.bfloat16):
        total = sum_of_parts(x, [(slice(0, 2), part)])
    total.backward()
    expected = 2e-3 * (x.detach() @ weight) @ weight.T
    torch.testing.assert_close(x.grad, expected, rtol=1e-5, atol=1e-7)
