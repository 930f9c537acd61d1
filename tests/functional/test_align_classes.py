"""Logits of classes as frequent as they should be."""

import pytest
import torch

from mmseg_u2pl.functional import align_classes


def test_alignment_by_hand():
    # p = (.6, .4) scaled by .5/.75 and .5/.25: (.4, .8) → (1/3, 2/3)
    logits = torch.tensor([0.6, 0.4]).log().view(1, 2, 1, 1)
    aligned = align_classes(logits, torch.tensor([0.5, 0.5]), torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(aligned.softmax(1).flatten(), torch.tensor([1 / 3, 2 / 3]))


def test_classes_as_frequent_as_they_should_be_stay():
    logits = torch.randn(2, 3, 4, 5)
    share = torch.tensor([0.5, 0.3, 0.2])
    assert torch.equal(align_classes(logits, share, share), logits)


def test_a_class_without_labels_is_never_predicted():
    logits = torch.randn(2, 3, 4, 5)
    aligned = align_classes(logits, torch.tensor([0.5, 0.5, 0.0]), torch.full((3,), 1 / 3))
    assert not (aligned.argmax(1) == 2).any()
    assert aligned.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_alignment_keeps_at_least_float32(dtype):
    aligned = align_classes(torch.zeros(1, 2, 3, dtype=dtype), torch.ones(2), torch.ones(2))
    assert aligned.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_a_class_never_predicted_gains_no_more_than_tenfold():
    share = torch.tensor([0.5, 0.3, 0.2])
    predicted = torch.tensor([0.7, 0.3, 0.0])
    shift = align_classes(torch.zeros(1, 3), share, predicted)[0]
    torch.testing.assert_close(shift.exp(), torch.tensor([0.5 / 0.7, 1.0, 10.0]))
