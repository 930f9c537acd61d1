"""Channel dropout of features: which channels, in which images, and how much they grow."""

import pytest
import torch

from mmseg_u2pl.functional import channel_dropout, complementary_dropout

SIZES = [(8, 4, 4), (16, 2, 2), (16, 1, 1)]


def ones(num, sizes=SIZES):
    return [torch.ones(num, *size) for size in sizes]


def masks(levels):
    """What each channel was multiplied by, (B, C) a level; it is the same in all its pixels."""
    found = [level[:, :, 0, 0] for level in levels]
    for mask, level in zip(found, levels, strict=True):
        assert torch.equal(level, mask[:, :, None, None].expand_as(level))
    return found


# ------------------------------------------------------------------------- channel dropout
@pytest.mark.parametrize(('prob', 'grown'), [(0.5, 2.0), (0.75, 4.0)])
def test_channels_are_dropped_or_grow_so_that_the_mean_stays(prob, grown):
    torch.manual_seed(0)
    (mask,) = masks(channel_dropout([torch.ones(200, 50, 2, 2)], prob))
    assert mask.unique().tolist() == [0, grown]
    assert (mask == 0).float().mean().item() == pytest.approx(prob, abs=0.02)
    assert mask.mean().item() == pytest.approx(1, abs=0.05)


def test_the_first_images_stay_and_levels_and_images_differ():
    torch.manual_seed(0)
    features = [level * 3 for level in ones(5)]
    changed = channel_dropout(features, 0.5, num_whole=2)
    for before, after in zip(features, changed, strict=True):
        assert torch.equal(after[:2], before[:2])
        assert torch.equal(before, torch.full_like(before, 3))  # the inputs are not modified
        assert set(after[2:].unique().tolist()) == {0, 6}
    _, second, third = masks(changed)
    assert not torch.equal(second, third)
    assert not torch.equal(third[2], third[3])


def test_no_dropout_changes_nothing():
    features = [torch.randn(3, *size) for size in SIZES]
    for before, after in zip(features, channel_dropout(features, 0.0), strict=True):
        assert torch.equal(before, after)


# ------------------------------------------------------------------- complementary dropout
@pytest.mark.parametrize(('num', 'undropped'), [(1, 0), (2, 1), (4, 2), (5, 2)])
def test_both_masks_add_to_two_and_half_of_the_images_are_undropped(num, undropped):
    torch.manual_seed(0)
    wholes = set()
    for _ in range(8):
        levels = masks(complementary_dropout(ones(2 * num), num))
        for mask in levels:
            first, second = mask.chunk(2)
            assert torch.equal(first + second, torch.full_like(first, 2))
            whole = (first == 1).all(1)
            assert whole.sum() == undropped
            assert set(first[~whole].unique().tolist()) == {0, 2}
            assert torch.equal(whole, (levels[0][:num] == 1).all(1))  # the same at all levels
        wholes.add(tuple(whole.tolist()))
    assert (len(wholes) > 1) == (undropped > 0)  # drawn at each call


def test_levels_of_equal_channels_share_a_mask():
    torch.manual_seed(0)
    first, second, third = masks(complementary_dropout(ones(4), 2))
    assert torch.equal(second, third)
    assert not torch.equal(first, second[:, :8])


def test_a_channel_is_dropped_with_probability_one_half():
    torch.manual_seed(0)
    (mask,) = masks(complementary_dropout([torch.ones(400, 50, 1, 1)], 200))
    assert (mask == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


# -------------------------------------------------------------------------------- of both
@pytest.mark.parametrize(
    'dropout', [lambda f: channel_dropout(f, 0.5), lambda f: complementary_dropout(f, 2)]
)
def test_maps_with_class_tokens_types_layouts_and_seeds(dropout):
    maps = torch.rand(4, 6, 3, 3).add(1).to(memory_format=torch.channels_last)
    features = [(maps, torch.ones(4, 6)), maps.bfloat16()]
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(dropout(features))
    (changed, token), half = results[0]
    assert changed.shape == maps.shape
    assert token.shape == (4, 6)
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert half.dtype == torch.bfloat16
    (again, _), _ = results[1]
    assert torch.equal(changed, again)
    dropped = (changed == 0).all(3).all(2)
    assert torch.equal(dropped, (changed == 0).any(3).any(2))  # whole channels
    assert 0 < dropped.sum() < dropped.numel()


def test_a_gradient_flows_through_what_is_kept():
    maps = torch.ones(2, 4, 2, 2, requires_grad=True)
    (changed,) = channel_dropout([maps], 0.5)
    changed.sum().backward()
    assert maps.grad is not None
    assert torch.equal(maps.grad, changed.detach())
