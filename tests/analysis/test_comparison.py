"""The picture that shows what the unlabeled images changed."""

import mmcv
import numpy as np

from mmseg_u2pl.analysis.comparison import Row, colorize, draw_comparison

PALETTE = ((200, 0, 0), (0, 200, 0))


def test_labels_take_their_colors_and_ignored_pixels_are_white():
    colors = colorize(np.array([[0, 1, 255]]), PALETTE)
    assert colors.tolist() == [[[200, 0, 0], [0, 200, 0], [255, 255, 255]]]


def test_the_picture_holds_every_panel(tmp_path):
    size = (24, 32)
    zeros, ones = np.zeros(size, np.uint8), np.ones(size, np.uint8)
    entropy = np.linspace(0, np.log(2), size[0] * size[1]).reshape(size)
    blue = np.full((*size, 3), (0, 0, 200), np.uint8)
    row = Row(image=blue, truth=zeros, supervised=ones, semi=zeros, entropy=entropy)
    path = draw_comparison([row, row], ('red', 'green'), PALETTE, tmp_path / 'new' / 'a.png')
    picture = mmcv.imread(path, channel_order='rgb').astype(int)

    def share(color):
        return (np.abs(picture - color).sum(2) < 12).mean()

    # five columns: one of the image, two of class red, one of class green, one of reliability
    assert share((0, 0, 200)) > 0.08
    assert share((200, 0, 0)) > 1.8 * share((0, 0, 200))
    assert abs(share((0, 200, 0)) - share((0, 0, 200))) < 0.02
