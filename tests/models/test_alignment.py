"""ClassAlignment: the shares that it tracks, and what it does with them."""

import copy

import pytest
import tiny
import torch

from mmseg_u2pl.models import ClassAlignment


def alignment(*counts, momentum=0.98):
    """One that has seen so many labeled pixels of each class, and no prediction."""
    part = ClassAlignment(len(counts), momentum)
    part.label_count.copy_(torch.tensor(counts))
    return part


MANY = (7e8, 2e8, 1e8)
"""So many labeled pixels that the prior does not matter: shares of .7, .2 and .1."""


def test_labels_are_counted_and_padding_is_not():
    part = ClassAlignment(3)
    part.observe_labels(torch.tensor([[[0, 0, 255], [2, 255, 255]]]))
    part.observe_labels(torch.tensor([[[0, 1]]]))
    assert part.label_count.tolist() == [3, 1, 1]


def test_the_shares_start_equal_and_become_those_of_the_labels():
    torch.testing.assert_close(ClassAlignment(4).label_share, torch.full((4,), 0.25))
    # 10 000 more pixels, of two classes alike: (20 + 5) and (0 + 5) thousand of 30
    part = alignment(20_000.0, 0.0)
    torch.testing.assert_close(part.label_share, torch.tensor([25 / 30, 5 / 30]))
    torch.testing.assert_close(
        alignment(*MANY).label_share, torch.tensor([0.7, 0.2, 0.1]), rtol=0, atol=1e-4
    )


def test_predictions_start_at_the_labeled_shares_and_follow_slowly():
    part = alignment(*MANY)
    label = torch.tensor([[[1, 1, 0, 0], [2, 2, 0, 0]]])
    valid = torch.ones(1, 4, 8, dtype=torch.bool)
    valid[:, :, 4:] = False  # the right half of the image is padding
    start, seen = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.0, 0.5, 0.5])
    part.observe_predictions(label, valid)
    first = 0.98 * start + 0.02 * seen
    torch.testing.assert_close(part.predicted_share, first, rtol=0, atol=1e-4)
    part.observe_predictions(label, valid)
    torch.testing.assert_close(part.predicted_share, 0.98 * first + 0.02 * seen, rtol=0, atol=1e-4)


def test_a_class_predicted_too_rarely_gains_and_one_without_labels_is_never_predicted():
    part = alignment(*MANY)
    part.predicted_share.copy_(torch.tensor([0.9, 0.05, 0.05]))
    # .5 · .7/.9 = .39 for class 0, .4 · .2/.05 = 1.6 for class 1, .1 · .1/.05 = .2 for class 2
    logits = torch.tensor([0.5, 0.4, 0.1]).log().view(1, 3, 1, 1)
    prob = part(logits).softmax(1).flatten()
    weights = torch.tensor([0.5 * 7 / 9, 1.6, 0.2])
    torch.testing.assert_close(prob, weights / weights.sum(), rtol=1e-3, atol=0)
    assert part.predicted_share.tolist() == pytest.approx([0.9, 0.05, 0.05])  # looking is free


def test_nothing_but_padding_moves_nothing_far():
    part = alignment(*MANY)
    part.observe_predictions(torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 2, dtype=torch.bool))
    assert part.predicted_share.isfinite().all()
    torch.testing.assert_close(
        part.predicted_share, 0.98 * torch.tensor([0.7, 0.2, 0.1]), rtol=0, atol=1e-4
    )


def test_state_is_saved_and_a_new_run_starts_again():
    part = alignment(*MANY)
    part.observe_predictions(torch.ones(1, 2, 2).long(), torch.ones(1, 2, 2, dtype=torch.bool))
    restored = ClassAlignment(3)
    restored.load_state_dict(copy.deepcopy(part.state_dict()))
    for name, value in part.named_buffers():
        assert torch.equal(restored.get_buffer(name), value), name
    restored.restart()
    fresh = ClassAlignment(3)
    for name, value in fresh.named_buffers():
        assert torch.equal(restored.get_buffer(name), value), name


def test_a_momentum_outside_its_range_is_named():
    tiny.assert_raises(ValueError, lambda: ClassAlignment(3, 1.0), 'momentum', '1.0')
