"""One picture that shows what the unlabeled images changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..functional import IGNORE


class Row(NamedTuple):
    """What one image contributes to the picture."""

    image: np.ndarray  # uint8 (H, W, 3), RGB
    truth: np.ndarray  # integer (H, W), 255 = ignored
    supervised: np.ndarray  # integer (H, W)
    semi: np.ndarray  # integer (H, W)
    entropy: np.ndarray  # float (H, W), the teacher's, nats


def colorize(label: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Labels (H, W) → RGB uint8 (H, W, 3); 255 is white."""
    colors = np.full((256, 3), 255, dtype=np.uint8)
    colors[: len(palette)] = palette
    return colors[label.astype(np.uint8)]


def draw_comparison(
    rows: Sequence[Row],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    path: str | Path,
    semi_name: str = 'U²PL',
    unreliable_percent: float = 20.0,
    dpi: int = 110,
) -> Path:
    """Draw image · ground truth · supervised · semi-supervised · reliability, one row an image.

    Reliability is the teacher's entropy, dark where it is sure; the ``unreliable_percent`` of
    highest entropy in the image, which would be left out as pseudo-labels, are red.

    Args:
        rows: The images, see :class:`Row`.
        classes: C names.
        palette: C RGB triples.
        path: The PNG to write; missing folders are made.
        semi_name: Title of the fourth column.
        unreliable_percent: α.
        dpi: Pixels an inch; an image is 2.6 inches wide.

    Returns:
        ``path``.
    """
    import matplotlib

    matplotlib.use('Agg')  # no display is needed
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    titles = ('image', 'ground truth', 'supervised', semi_name, 'reliability')
    height, width = rows[0].truth.shape
    figure, axes = plt.subplots(
        len(rows),
        len(titles),
        figsize=(2.6 * len(titles), 2.6 * height / width * len(rows) + 0.9),
        squeeze=False,
        layout='constrained',
    )
    for line, row in zip(axes, rows, strict=True):
        valid = row.truth != IGNORE
        panels = [row.image] + [colorize(m, palette) for m in (row.truth, row.supervised, row.semi)]
        for axis, panel, label in zip(
            line[:-1], panels, (None, None, row.supervised, row.semi), strict=True
        ):
            axis.imshow(panel, interpolation='nearest')
            if label is not None:
                right = (label == row.truth)[valid].mean()
                axis.set_xlabel(f'{right:.0%} of pixels right', fontsize=8)
        line[-1].imshow(row.entropy, cmap='gray', vmin=0, vmax=np.log(len(classes)))
        unreliable = row.entropy >= np.percentile(row.entropy, 100 - unreliable_percent)
        red = np.zeros((*unreliable.shape, 4))
        red[unreliable] = (0.9, 0.1, 0.1, 0.65)
        line[-1].imshow(red, interpolation='nearest')
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=11)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    legend = [
        Patch(color='#' + bytes(c).hex(), label=n) for n, c in zip(classes, palette, strict=True)
    ]
    legend.append(Patch(color=(0.9, 0.1, 0.1), label=f'least reliable {unreliable_percent:g} %'))
    figure.legend(
        handles=legend, loc='outside lower center', ncols=len(legend), fontsize=8, frameon=False
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
    return Path(path)
