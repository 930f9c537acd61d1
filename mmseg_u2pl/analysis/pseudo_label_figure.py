"""Pseudo-labels against the ground truth of the unlabeled images, as tables and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from .pseudo_labels import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = 'osD^vPpX<>h'
NOTHING = 1e-4
"""Where a share of zero stands on a logarithmic axis, and the end of that axis."""
LEAST_RATIO = 1e-2
FIFTHS, FIFTHS_NAMES = np.linspace(0, 1, 6), ['0%', '20%', '40%', '60%', '80%', '100%']
SHARES = ('truth', 'pseudo', 'kept')
SCORES = ('precision', 'kept_precision', 'rest_precision', 'recall', 'iou')
PRECISION, RECALL, PSEUDO = '#3b6fb6', '#e08a3c', '#b03a48'


def class_table(measurement: Measurement, classes: Sequence[str]) -> Table:
    """One row a class, most frequent first, and one of all classes.

    Args:
        measurement: One network's, in one checkpoint.
        classes: C names.

    Returns:
        A table to print with ``rich``, in percent: shares of the pixels by ground truth, of all
        and of the kept pseudo-labels, red where less than half of the truth; precision of all, of
        the kept and of the other pseudo-labels; recall and IoU of all.
    """
    measures, overall = measurement.quality.by_class(), measurement.quality.overall()
    table = Table(
        title=f'Pseudo-labels of {measurement.network} at iteration {measurement.iteration}, %',
        title_style='bold',
        caption=f'kept: {_percent(overall["share_kept"])} % of the pixels · row of all classes: '
        'share of right pixels, mIoU',
    )
    for title in ('class', 'truth', 'pseudo', 'kept', 'precision', 'of kept', 'of rest', 'recall',
                  'IoU'):  # fmt: skip
        table.add_column(title, justify='left' if title == 'class' else 'right')
    for index in _by_frequency(measurement):
        truth, *shares = (float(measures[f'{name}_share'][index]) for name in SHARES)
        scores = (float(measures[name][index]) for name in SCORES)
        table.add_row(
            classes[index],
            _percent(truth, 2),
            *(f'[red]{_percent(s, 2)}[/]' if s < truth / 2 else _percent(s, 2) for s in shares),
            *map(_percent, scores),
        )
    table.add_section()
    accuracy = (overall[key] for key in ('accuracy', 'kept_accuracy', 'rest_accuracy'))
    table.add_row(
        'all', '', '', '', *map(_percent, accuracy), '', _percent(overall['mIoU']), style='bold'
    )
    return table


def checkpoint_table(measurements: Sequence[Measurement]) -> Table:
    """One row a network and checkpoint, in percent; green where the kept are more often right."""
    table = Table(title='Accuracy of the pseudo-labels, % of the pixels', title_style='bold')
    for title in ('iteration', 'network', 'all', 'kept', 'of kept', 'of rest', 'mIoU', 'ECE'):
        table.add_column(title, justify='left' if title == 'network' else 'right')
    for measurement in measurements:
        overall = measurement.quality.overall()
        kept, rest = overall['kept_accuracy'], overall['rest_accuracy']
        color = 'green' if kept > rest else 'red' if kept < rest else 'default'
        table.add_row(
            str(measurement.iteration),
            measurement.network,
            *(_percent(overall[key]) for key in ('accuracy', 'share_kept')),
            f'[{color}]{_percent(kept)}[/]',
            *(_percent(overall[key]) for key in ('rest_accuracy', 'mIoU', 'ece')),
        )
    return table


def draw_pseudo_labels(
    measurements: Sequence[Measurement],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    path: str | Path,
    title: str = '',
) -> Path:
    """Draw the last checkpoint's classes and calibration and, of several, the development.

    Args:
        measurements: Of one network, at least one, by iteration.
        classes: C names.
        palette: C RGB triples.
        path: The PNG to write; missing folders are made.
        title: Of the whole picture.

    Returns:
        ``path``.
    """
    import matplotlib

    matplotlib.use('Agg')  # no display is needed
    import matplotlib.pyplot as plt

    several = len(measurements) > 1
    heights = [max(3.6, 0.36 * len(classes) + 0.8)] + [3.6] * several
    figure = plt.figure(figsize=(13, sum(heights) + 0.6), layout='constrained')
    figure.suptitle(title, fontsize=12)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    last = measurements[-1]
    order = _by_frequency(last)

    axes = parts[0].subplots(1, 3, width_ratios=(1.25, 1, 1.1))
    axes[1].sharey(axes[0])
    _draw_scores(axes[0], last, order)
    axes[0].set_yticks(range(len(order)), [classes[index] for index in order])
    axes[0].set_ylim(len(order) - 0.4, -0.6)
    _draw_shares(axes[1], last, order)
    axes[1].tick_params(labelleft=False)
    _draw_calibration(axes[2], last)
    if several:
        panels = parts[1].subplots(1, 2)
        colors = [_on_white(color) for color in palette]
        _draw_development(panels, measurements, order, colors)
        names = [classes[index] for index in order]
        parts[1].legend(
            panels[0].get_lines(), names, loc='outside center right', fontsize=8, frameon=False,
            ncols=math.ceil(len(names) / 14),
        )  # fmt: skip
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return Path(path)


def _draw_scores(axis: Axes, last: Measurement, order: list[int]) -> None:
    """Precision and recall of the kept labels, two bars a class."""
    rows, measures = np.arange(len(order)), last.quality.by_class()
    for offset, color, name in ((-0.2, PRECISION, 'precision'), (0.2, RECALL, 'recall')):
        lengths = measures[f'kept_{name}'][order].numpy()
        axis.barh(rows + offset, np.nan_to_num(lengths), 0.38, color=color, label=name)
        for row, value in zip(rows, lengths, strict=True):
            text = '–' if math.isnan(value) else f'{value:.0%}'
            axis.text(np.nan_to_num(value) + 0.01, row + offset, text, va='center', fontsize=7)
    axis.set_xlim(0, 1.1)
    axis.set_xticks(FIFTHS, FIFTHS_NAMES)
    kept = last.quality.overall()['share_kept']
    axis.set_title(
        f'kept pseudo-labels at iteration {last.iteration} ({kept:.1%} are)', fontsize=10
    )
    _legend_below(axis)
    _clean(axis, 'x')


def _draw_shares(axis: Axes, last: Measurement, order: list[int]) -> None:
    """How frequent each class is, in truth and among the pseudo-labels."""
    rows, measures = np.arange(len(order)), last.quality.by_class()
    truth, pseudo = (measures[f'{name}_share'][order].numpy() for name in ('truth', 'pseudo'))
    axis.hlines(rows, *np.maximum((truth, pseudo), NOTHING), color='0.75', lw=2, zorder=1)
    axis.scatter(np.maximum(truth, NOTHING), rows, 44, 'white', edgecolors='black', label='truth')
    axis.scatter(np.maximum(pseudo, NOTHING), rows, 30, PSEUDO, label='pseudo-labels')
    axis.set_xscale('log')
    axis.set_xlim(NOTHING * 0.8, 1)
    axis.set_xticks(np.logspace(-4, 0, 5), ['≤0.01%', '0.1%', '1%', '10%', '100%'])
    axis.set_title('share of the pixels', fontsize=10)
    _legend_below(axis)
    _clean(axis, 'x')


def _draw_calibration(axis: Axes, last: Measurement) -> None:
    """Accuracy in each bin of confidence, above the share of the pixels in it."""
    quality = last.quality
    share, accuracy = (values.numpy() for values in quality.calibration())
    width = 1 / quality.bins
    left = np.arange(quality.bins) * width
    axis.bar(
        left, np.nan_to_num(accuracy), width, align='edge', color=PRECISION, edgecolor='white',
        label='right',
    )  # fmt: skip
    axis.step(
        np.append(left, 1), np.append(share, share[-1]), where='post', color='black', lw=1.2,
        label='share of the pixels',
    )  # fmt: skip
    axis.plot((0, 1), (0, 1), '--', color='0.4', lw=1, label='calibrated')
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect='equal', anchor='N')
    axis.set_xticks(FIFTHS, FIFTHS_NAMES)
    axis.set_yticks(FIFTHS, FIFTHS_NAMES)
    title = f'share right by confidence: {quality.overall()["accuracy"]:.1%} in all, '
    axis.set_title(f'{title}ECE {quality.ece:.1%}', fontsize=10)
    _legend_below(axis)
    _clean(axis, 'both')


def _draw_development(
    axes: Sequence[Axes], measurements: Sequence[Measurement], order: list[int], colors: list
) -> None:
    """Recall and share of pseudo-labels / share of truth of each class over the iterations."""
    recall, ratio = axes
    iterations = [measurement.iteration for measurement in measurements]
    found = [measurement.quality.by_class() for measurement in measurements]
    recalls = np.array([measures['recall'].numpy() for measures in found])
    ratios = np.array([(m['pseudo_share'] / m['truth_share']).numpy() for m in found])
    for axis, values in ((recall, recalls), (ratio, np.maximum(ratios, LEAST_RATIO))):
        for place, index in enumerate(order):
            axis.plot(
                iterations, values[:, index], lw=1.8, ms=7, mec='white', mew=0.8,
                marker=MARKERS[place % len(MARKERS)], color=colors[index], clip_on=False,
            )  # fmt: skip
        axis.set_xlabel('iteration', fontsize=9)
        _clean(axis, 'y')
    recall.set_ylim(0, 1)
    recall.set_yticks(FIFTHS, FIFTHS_NAMES)
    recall.set_title('recall of all pseudo-labels', fontsize=10)
    ratio.axhline(1, color='0.4', ls='--', lw=1, zorder=0)
    ratio.set_yscale('log')
    top = max(3.0, np.nanmax(ratios, initial=1.0, where=np.isfinite(ratios)) * 1.3)
    ratio.set_ylim(LEAST_RATIO, top)
    ratio.minorticks_off()
    ticks = np.array([tick for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if tick <= top])
    ratio.set_yticks(ticks, [f'{tick:g}' if tick > LEAST_RATIO else f'≤{tick}' for tick in ticks])
    ratio.set_title('share of the pseudo-labels / true share (1 = as frequent)', fontsize=10)


def _on_white(color: Sequence[int]) -> tuple[float, ...]:
    """A palette's color as a line on white: pale ones are darkened."""
    rgb = np.array(color) / 255
    luminance = float(rgb @ (0.2126, 0.7152, 0.0722))
    return tuple(rgb * min(1.0, 0.7 / max(luminance, 1e-6)))


def _legend_below(axis: Axes) -> None:
    """A legend in one line under the axis."""
    axis.legend(
        loc='upper center', bbox_to_anchor=(0.5, 0), borderaxespad=2.8, ncols=4, fontsize=8,
        frameon=False, columnspacing=1.0, handletextpad=0.4,
    )  # fmt: skip


def _clean(axis: Axes, grid: str) -> None:
    """No frame, a pale grid behind, small numbers."""
    axis.spines[['top', 'right']].set_visible(False)
    axis.set_axisbelow(True)
    axis.grid(axis=grid, color='0.9')  # type: ignore[arg-type]
    axis.tick_params(labelsize=8)


def _by_frequency(measurement: Measurement) -> list[int]:
    """Classes, the one with most true pixels first."""
    share = measurement.quality.by_class()['truth_share']
    return share.argsort(descending=True, stable=True).tolist()


def _percent(share: float, digits: int = 1) -> str:
    return '–' if math.isnan(share) else f'{100 * share:.{digits}f}'
