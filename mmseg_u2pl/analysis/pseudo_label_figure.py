"""Pseudo-labels against the ground truth of the unlabeled images, as tables and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from .pseudo_labels import Measurement
from .tables import new_table, percent

SHARES = ('truth_share', 'pseudo_share', 'kept_share')
SCORES = ('precision', 'kept_precision', 'rest_precision', 'recall', 'iou')
OVERALL = ('accuracy', 'share_kept', 'kept_accuracy', 'rest_accuracy', 'mIoU', 'ece')
BLUE, ORANGE, RED = '#3b6fb6', '#e08a3c', '#b03a48'


def class_table(measurement: Measurement, classes: Sequence[str]) -> Table:
    """One row a class, most frequent first, and one of all classes.

    Args:
        measurement: Of one network in one checkpoint.
        classes: C names.

    Returns:
        A table to print with ``rich``, in percent: shares of the pixels by ground truth, of all
        and of the kept pseudo-labels, red where less than half of the truth; precision of all, of
        the kept and of the other pseudo-labels; recall and IoU of all.
    """
    measures, overall = measurement.quality.by_class(), measurement.quality.overall()
    table = new_table(
        f'Pseudo-labels of {measurement.network} at iteration {measurement.iteration}, %',
        'class', 'truth', 'pseudo', 'kept', 'precision', 'of kept', 'of rest', 'recall', 'IoU',
    )  # fmt: skip
    table.caption = (
        f'kept: {percent(overall["share_kept"])} % of the pixels · row of all classes: '
        'share of right pixels, mIoU'
    )
    for index in _by_frequency(measurement):
        shares = [float(measures[name][index]) for name in SHARES]
        scores = [float(measures[name][index]) for name in SCORES]
        cells = [percent(share, digits=2) for share in shares]
        for column in (1, 2):
            if shares[column] < shares[0] / 2:
                cells[column] = f'[red]{cells[column]}[/]'
        table.add_row(classes[index], *cells, *map(percent, scores))
    table.add_section()
    accuracy = [percent(overall[name]) for name in ('accuracy', 'kept_accuracy', 'rest_accuracy')]
    table.add_row('all', '', '', '', *accuracy, '', percent(overall['mIoU']), style='bold')
    return table


def checkpoint_table(measurements: Sequence[Measurement]) -> Table:
    """One row a checkpoint and network, in percent: accuracy of all, kept and other pixels."""
    titles = ('network', 'iteration', 'all', 'kept', 'of kept', 'of rest', 'mIoU', 'ECE')
    table = new_table('Accuracy of the pseudo-labels, % of the pixels', *titles)
    for measurement in measurements:
        overall = measurement.quality.overall()
        cells = [percent(overall[name]) for name in OVERALL]
        table.add_row(measurement.network, str(measurement.iteration), *cells)
    return table


def draw_pseudo_labels(
    measurements: Sequence[Measurement], classes: Sequence[str], path: str | Path, title: str = ''
) -> Path:
    """Draw the last checkpoint's classes and calibration and, of several, recall over training.

    Args:
        measurements: Of one network, at least one, by iteration.
        classes: C names.
        path: The PNG to write; missing folders are made.
        title: Of the whole picture.

    Returns:
        ``path``.
    """
    panels: list[Any] = [['scores', 'shares', 'calibration']]
    if len(measurements) > 1:
        panels.append(['recall'] * 3)
    height = max(4, 2 + 0.3 * len(classes))  # inches
    figure = Figure(figsize=(14, height * len(panels)), layout='constrained')
    figure.suptitle(title)
    axes: dict[str, Axes] = figure.subplot_mosaic(panels)
    for axis in axes.values():
        axis.spines[['top', 'right']].set_visible(False)
        axis.grid(color='0.9')
        axis.set_axisbelow(True)
    last = measurements[-1]
    kept = last.quality.overall()['share_kept']
    kept_title = f'kept pseudo-labels at iteration {last.iteration}: {kept:.1%} of all'
    names = dict(precision='kept_precision', recall='kept_recall')
    _draw_bars(axes['scores'], last, classes, kept_title, names, (BLUE, ORANGE))
    names = {'truth': 'truth_share', 'all pseudo-labels': 'pseudo_share'}
    _draw_bars(axes['shares'], last, classes, 'share of the pixels', names, ('0.5', RED))
    axes['shares'].set(xscale='log', xlim=(1e-4, 4))
    axes['shares'].xaxis.set_major_formatter(_tick)
    _draw_calibration(axes['calibration'], last)
    if len(measurements) > 1:
        _draw_recall(axes['recall'], measurements, classes)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return Path(path)


def _draw_bars(
    axis: Axes, last: Measurement, classes: Sequence[str], title: str, names: dict[str, str],
    colors: Sequence[str],
) -> None:  # fmt: skip
    """Two measures of each class as bars, by the names that the legend gives them."""
    order, measures = _by_frequency(last), last.quality.by_class()
    for offset, color, (label, name) in zip((-0.2, 0.2), colors, names.items(), strict=True):
        values = measures[name][order].numpy()
        rows = np.arange(len(order)) + offset
        bars = axis.barh(rows, np.nan_to_num(values), 0.38, color=color, label=label)
        axis.bar_label(bars, [percent(value) for value in values], padding=2, fontsize=7)
    axis.set_yticks(range(len(order)), [classes[index] for index in order])
    axis.set(title=title, xlim=(0, 1.1), ylim=(len(order) - 0.5, -0.5))  # from the top
    axis.xaxis.set_major_formatter(_tick)
    _legend_below(axis, columns=2)


def _draw_calibration(axis: Axes, last: Measurement) -> None:
    """Accuracy in each bin of confidence, and the share of the pixels in it."""
    overall, bins = last.quality.overall(), last.quality.calibration()
    edges = np.linspace(0, 1, last.quality.bins + 1)
    axis.stairs(bins['accuracy'].nan_to_num(), edges, fill=True, color=BLUE, label='right')
    axis.stairs(bins['share'].nan_to_num(), edges, color='black', label='share of the pixels')
    axis.plot((0, 1), (0, 1), '--', color='0.4', label='calibrated')
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.xaxis.set_major_formatter(_tick)
    axis.yaxis.set_major_formatter(_tick)
    axis.set_title(
        f'share right by confidence: {overall["accuracy"]:.1%} in all, ECE {overall["ece"]:.1%}'
    )
    _legend_below(axis, columns=3)


def _draw_recall(axis: Axes, measurements: Sequence[Measurement], classes: Sequence[str]) -> None:
    """Recall of each class over the iterations, one line a class."""
    iterations = [measurement.iteration for measurement in measurements]
    recalls = np.array([m.quality.by_class()['recall'].numpy() for m in measurements])
    for place, index in enumerate(_by_frequency(measurements[-1])):
        marker = 'osD^vPX'[place % 7]  # colors repeat after ten classes
        axis.plot(iterations, recalls[:, index], marker=marker, label=classes[index])
    axis.set(ylim=(-0.02, 1.02), title='recall of all pseudo-labels by iteration')
    axis.yaxis.set_major_formatter(_tick)
    _legend_below(axis, columns=10)


def _legend_below(axis: Axes, columns: int) -> None:
    axis.legend(loc='upper center', bbox_to_anchor=(0.5, -0.08), ncols=columns, frameon=False)


def _tick(share: float, _: float) -> str:
    return f'{100 * share:g}%'


def _by_frequency(measurement: Measurement) -> list[int]:
    """Classes, the one with most true pixels first."""
    share = measurement.quality.by_class()['truth_share']
    return share.argsort(descending=True, stable=True).tolist()
