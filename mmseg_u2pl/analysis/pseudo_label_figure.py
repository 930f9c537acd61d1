"""Pseudo-labels against the ground truth of the unlabeled images, as tables and as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from .pseudo_labels import Measurement
from .tables import new_table, percent


def class_table(measurement: Measurement, classes: Sequence[str]) -> Table:
    """One row a class, most frequent first.

    Args:
        measurement: Of one network in one checkpoint.
        classes: C names.

    Returns:
        A table to print with ``rich``: the measures of ``PseudoLabelQuality.by_class``, in percent.
    """
    measures = measurement.quality.by_class()
    title = f'Pseudo-labels of {measurement.network} at iteration {measurement.iteration}, %'
    table = new_table(title, 'class', *map(_words, measures))
    for index in _by_frequency(measurement):
        cells = [percent(float(values[index]), digits=2) for values in measures.values()]
        table.add_row(classes[index], *cells)
    return table


def checkpoint_table(measurements: Sequence[Measurement]) -> Table:
    """One row a checkpoint and network, in percent: its ``overall`` numbers."""
    titles = map(_words, measurements[0].quality.overall())
    table = new_table('Pseudo-labels of all classes, %', 'network', 'iteration', *titles)
    for _, iteration, network, quality in measurements:
        table.add_row(network, str(iteration), *map(percent, quality.overall().values()))
    return table


def draw_pseudo_labels(
    measurements: Sequence[Measurement], classes: Sequence[str], path: str | Path, title: str = ''
) -> Path:
    """Draw the classes of the last checkpoint and, of several, recall over training.

    Args:
        measurements: Of one network, at least one, by iteration.
        classes: C names.
        path: The PNG to write; missing folders are made.
        title: Of the whole picture.

    Returns:
        ``path``.
    """
    columns = 2 if len(measurements) == 1 else 3
    figure = Figure(figsize=(6 * columns, 2 + 0.3 * len(classes)), layout='constrained')
    figure.suptitle(title)
    scores, shares, *others = figure.subplots(1, columns, squeeze=False)[0]
    last, names_of = measurements[-1], [name.replace('$', r'\$') for name in classes]
    order, measures = _by_frequency(last), last.quality.by_class()
    rows = np.arange(len(order))
    below = -0.3 / (1.1 + 0.3 * len(classes))  # 0.3 inches, where an axis is so high
    pairs = (('kept_precision', 'kept_recall'), ('truth_share', 'pseudo_share'))
    for axis, names in zip((scores, shares), pairs, strict=True):
        for offset, name in zip((-0.2, 0.2), names, strict=True):
            values = 100 * measures[name][order].numpy()
            bars = axis.barh(rows + offset, values, 0.4, label=_words(name))
            axis.bar_label(bars, fmt='%.1f', padding=2, fontsize=7)
        axis.set_yticks(rows, [names_of[index] for index in order])
        axis.invert_yaxis()
        axis.legend(loc='upper center', bbox_to_anchor=(0.5, below), ncols=2, frameon=False)
    scores.set(title='kept pseudo-labels, %', xlim=(0, 115))
    shares.set(title='share of the pixels, %', xscale='log', xlim=(1e-2, 400))
    for axis in others:
        recalls = 100 * np.array([m.quality.by_class()['recall'].numpy() for m in measurements])
        iterations = [measurement.iteration for measurement in measurements]
        for place, index in enumerate(order):
            style = ('-', '--', ':')[place // 10 % 3]  # colors repeat after ten classes
            axis.plot(iterations, recalls[:, index], style, marker='.')
        axis.set(title='recall of all pseudo-labels by iteration, %')
        axis.legend(axis.lines, [names_of[index] for index in order])  # some begin with _
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return Path(path)


def _words(name: str) -> str:
    return name.replace('_', ' ')


def _by_frequency(measurement: Measurement) -> list[int]:
    """Classes, the one with most true pixels first."""
    share = measurement.quality.by_class()['truth_share']
    return share.argsort(descending=True, stable=True).tolist()
