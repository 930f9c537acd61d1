"""Counts of pseudo-labels against the ground truth, and their measures, by hand."""

import json
import math

import pytest
import torch

from mmseg_u2pl.analysis.pseudo_labels import PseudoLabelQuality

CLASSES = ('a', 'b', 'c')


def by_hand():
    """Eight pixels, one of them void and one padding; class c is never a pseudo-label."""
    truth = [0, 0, 0, 1, 1, 2, 255, 0]
    pseudo = [0, 0, 1, 1, 0, 1, 0, 255]
    keep = [1, 0, 1, 1, 0, 0, 1, 1]
    quality = PseudoLabelQuality(3)
    quality.update(
        torch.tensor([[pseudo]]),
        torch.tensor([[keep]]).bool(),
        torch.tensor([[truth]], dtype=torch.uint8),
    )
    return quality


def test_the_counts_of_kept_and_other_pixels():
    quality = by_hand()
    assert quality.confusion[0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert quality.confusion[1].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('truth_share', [3 / 6, 2 / 6, 1 / 6]),
        ('pseudo_share', [3 / 6, 3 / 6, 0]),
        ('kept_share', [1 / 3, 2 / 3, 0]),
        ('precision', [2 / 3, 1 / 3, math.nan]),
        ('recall', [2 / 3, 1 / 2, 0]),
        ('kept_precision', [1, 1 / 2, math.nan]),
        ('rest_precision', [1 / 2, 0, math.nan]),
        ('kept_recall', [1 / 3, 1 / 2, 0]),
        ('iou', [2 / 4, 1 / 4, 0]),
    ],
)
def test_measures_of_classes(name, expected):
    assert by_hand().by_class()[name].tolist() == pytest.approx(expected, nan_ok=True)


def test_measures_of_all_pixels():
    expected = dict(accuracy=3 / 6, kept_accuracy=2 / 3, rest_accuracy=1 / 3, share_kept=3 / 6)
    overall = by_hand().overall()
    assert {name: overall[name] for name in expected} == pytest.approx(expected)
    assert overall['mIoU'] == pytest.approx(0.25)


def test_batches_add_up():
    whole, parts = PseudoLabelQuality(3), PseudoLabelQuality(3)
    label, truth = torch.randint(0, 3, (2, 4, 5, 6))
    keep = torch.rand(4, 5, 6) < 0.5
    whole.update(label, keep, truth)
    for maps in zip(label, keep, truth, strict=True):
        parts.update(*(each.unsqueeze(0) for each in maps))
    assert parts.as_dict(CLASSES)['confusion'] == whole.as_dict(CLASSES)['confusion']
    assert parts.overall() == pytest.approx(whole.overall())


def test_void_images_count_nothing_and_json_has_no_nan():
    quality = PseudoLabelQuality(3)
    void = torch.full((1, 2, 2), 255)
    quality.update(torch.zeros_like(void), void > 0, void)
    assert quality.confusion.sum() == 0
    numbers = json.loads(json.dumps(quality.as_dict(CLASSES), allow_nan=False))
    assert numbers['classes']['a']['recall'] is None
    assert numbers['overall']['accuracy'] is None


def test_masks_of_another_data_set_are_refused():
    label, truth = torch.zeros(1, 1, 2, dtype=torch.long), torch.tensor([[[0, 7]]])
    with pytest.raises(ValueError, match=r'holds the label 7.*0 \.\.\. 2'):
        PseudoLabelQuality(3).update(label, label == 0, truth)
