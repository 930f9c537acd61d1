"""What is computed part by part is what is computed at once."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mmseg_u2pl.functional import bands, by_bands, parts, slices, sum_of_parts

CPU = torch.device('cpu')
LENGTHS = st.integers(1, 12)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of few elements, so that even small maps need several."""
    monkeypatch.setitem(parts.ELEMENTS, 'cpu', 100)


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


# -------------------------------------------------------------------------------- bands
@given(small=st.tuples(LENGTHS, LENGTHS), size=st.tuples(LENGTHS, LENGTHS), corners=st.booleans())
def test_bands_are_torchs_interpolation(small, size, corners):
    maps = torch.randn(2, 3, *small, dtype=torch.float64)
    expected = F.interpolate(maps, size, mode='bilinear', align_corners=corners)
    for elements in (1, 2 * 3 * size[1] * 2, 2**20):  # bands of one row, of two, and one band
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(parts.ELEMENTS, 'cpu', elements)
            own = list(bands(maps, size, corners))
        rows = [row for band in own for row in range(band.rows.start, band.rows.stop)]
        assert rows == list(range(size[0]))
        together = torch.cat([band.enlarge(maps[:, :, band.source]) for band in own], dim=2)
        torch.testing.assert_close(together, expected, rtol=0, atol=1e-6)


def test_a_band_reads_few_rows(small_parts):
    maps = torch.zeros(1, 1, 100, 25)
    for band in bands(maps, (400, 100), align_corners=True):  # one row of 100 each
        assert band.source.stop - band.source.start <= 5


def test_maps_made_for_a_test_serve_training():
    with torch.inference_mode():
        by_bands(lambda x: x[:, 0], torch.ones(1, 2, 3, 5), (6, 9), align_corners=False)
    maps = torch.ones(1, 2, 3, 5, requires_grad=True)
    (band,) = bands(maps, (6, 9), align_corners=False)
    (gradient,) = torch.autograd.grad(band.enlarge(maps[:, :, band.source]).sum(), maps)
    assert gradient.sum().item() == pytest.approx(2 * 6 * 9)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_enlarged_in_single(dtype, small_parts):
    maps = torch.randn(2, 4, 5, 6).to(dtype)
    with torch.autocast('cpu', torch.bfloat16):
        top = by_bands(lambda x: x.amax(1), maps, (11, 13), align_corners=False)
    expected = F.interpolate(maps.float(), (11, 13), mode='bilinear').amax(1)
    assert top.dtype == torch.float32
    torch.testing.assert_close(top, expected, rtol=0, atol=1e-5)
