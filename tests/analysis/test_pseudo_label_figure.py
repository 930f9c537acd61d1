"""Pseudo-labels against the ground truth, as tables and as a picture."""

import math

import mmcv
import pytest
import torch

from mmseg_u2pl.analysis.pseudo_label_figure import (
    checkpoint_table,
    class_table,
    draw_pseudo_labels,
)
from mmseg_u2pl.analysis.pseudo_labels import Measurement, PseudoLabelQuality

CLASSES = ('rare', 'gone', 'frequent')


def measurement(iteration, rare_right):
    """Of 100 pixels 10 are class 0, of which ``rare_right`` are found, and 20 are class 1.

    Half of the pixels of class 2 are not kept.
    """
    quality = PseudoLabelQuality(3)
    rows = [[rare_right, 0, 10 - rare_right], [0, 0, 20], [0, 0, 35]]
    quality.confusion[1] = torch.tensor(rows)
    quality.confusion[0, 2, 2] = 35
    return Measurement(f'iter_{iteration}.pth', iteration, 'teacher', quality)


def cells(table):
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def test_the_table_has_the_frequent_classes_first():
    rows = cells(class_table(measurement(8, 4), CLASSES))
    # shares of the truth, of all and of the kept; precision of all, kept and rest; recall of all
    # and kept; IoU
    assert rows == [
        ['frequent', '70.00', '96.00', '93.85', '72.92', '57.38', '100.00', '100.00', '50.00', '72.92'],
        ['gone', '20.00', '0.00', '0.00', '–', '–', '–', '0.00', '0.00', '0.00'],
        ['rare', '10.00', '4.00', '6.15', '100.00', '100.00', '–', '40.00', '40.00', '40.00'],
    ]  # fmt: skip


def test_a_row_a_checkpoint_compares_the_kept_with_the_rest():
    better = measurement(9, 10)
    better.quality.confusion[:, 1] = 0  # class 1 is gone, all that is left is right
    better.quality.confusion[0, 2, 0] = 5
    rows = cells(checkpoint_table([measurement(8, 4), better]))
    assert rows[0] == ['teacher', '8', '74.0', '65.0', '60.0', '100.0', '37.6']
    assert rows[1][:6] == ['teacher', '9', '94.1', '52.9', '100.0', '87.5']


@pytest.mark.parametrize('iterations', [(8,), (4, 6, 8)])
def test_the_picture_has_bars_and_with_several_checkpoints_lines(tmp_path, iterations):
    found = [measurement(iteration, iteration // 2) for iteration in iterations]
    path = draw_pseudo_labels(found, CLASSES, tmp_path / 'new' / 'a.png', 'a title')
    picture = mmcv.imread(path, channel_order='rgb').astype(int)

    def pixels(color):
        return int((abs(picture - color).sum(2) < 12).sum())

    # matplotlib's first two colors are the bars', the third is that of a line
    assert pixels((31, 119, 180)) > 2000
    assert pixels((255, 127, 14)) > 2000
    line = pixels((44, 160, 44))
    assert line > 100 if len(iterations) > 1 else line < 10


def test_a_class_without_true_pixels_is_drawn_as_nothing(tmp_path):
    found = [measurement(4, 2), measurement(8, 2)]
    for one in found:
        one.quality.confusion[1, 1] = 0
    assert math.isnan(found[0].quality.by_class()['recall'][1])
    assert draw_pseudo_labels(found, CLASSES, tmp_path / 'a.png').stat().st_size > 10_000
