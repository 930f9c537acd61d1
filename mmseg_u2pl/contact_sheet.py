"""A contact sheet: one row a stream or a prediction, one column an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from .functional import IGNORE
from .models import SemiSegmentor

UNPAINTED = 254  # label of pixels that show the image
STRENGTH = 0.6  # how much of a class's color covers the image
STRIPES = (70, 185)  # grays of pixels that count nowhere; stripes look like no class
OUTLINE = '#ff2fd6'


class SheetRow(NamedTuple):
    """The images of one row, and what is drawn over them."""

    title: str
    images: np.ndarray  # uint8 (B, H, W, 3), RGB
    names: Sequence[str]  # B titles of images
    labels: np.ndarray | None = None  # integer (B, H, W), 255 = ignored or padding, or UNPAINTED
    outlines: np.ndarray | None = None  # boolean (B, H, W), their edges are drawn


def display_images(images: Tensor, preprocessor: Any) -> np.ndarray:
    """Undo a ``SegDataPreProcessor``'s normalization.

    Args:
        images: The network's input (B, 3, H, W), floating.
        preprocessor: Its mean, standard deviation and channel conversion count, where it has them.

    Returns:
        RGB uint8 (B, H, W, 3). Without channel conversion the input is taken for BGR, the order
        in which mmcv reads files.
    """
    pixels = images * getattr(preprocessor, 'std', 1.0) + getattr(preprocessor, 'mean', 0.0)
    if not getattr(preprocessor, '_channel_conversion', False):  # it has no public name
        pixels = pixels.flip(1)
    return pixels.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def training_rows(model: Any, batch: dict[str, Any], labels: bool = False) -> list[SheetRow]:
    """What a model gets in training from one batch of its dataloader.

    Args:
        model: A segmentor in evaluation mode. Mixes and strong views are drawn with torch's
            randomness; only a mix that pseudo-labels shape needs weights.
        batch: As the dataloader collates it; without ``stream`` all of it is labeled.
        labels: Add what the networks take the unlabeled images for; this needs weights.

    Returns:
        The labeled images, the same under their masks and, of a semi-supervised model, the
        unlabeled images, their views and, if asked for, their pseudo-labels where they are kept.
    """
    data = model.data_preprocessor(batch, True)
    inputs, samples = data['inputs'], data['data_samples']

    def row(title: str, images: Tensor, samples: list, **maps: Tensor | None) -> SheetRow:
        names = [Path(sample.img_path).stem[-36:] for sample in samples[: len(images)]]
        arrays = {key: value.cpu().numpy() for key, value in maps.items() if value is not None}
        return SheetRow(title, display_images(images, model.data_preprocessor), names, **arrays)

    if not isinstance(model, SemiSegmentor):
        truth = torch.cat([sample.gt_sem_seg.data for sample in samples])
        rows = [row('labeled', inputs, samples)]
        return [*rows, row('labeled, mask', inputs, samples, labels=truth)]
    streams = model.stream_batch(inputs, samples)
    images_u, samples_u, valid = streams.images_u, samples['unsup'], streams.valid
    padding = torch.where(valid, UNPAINTED, IGNORE)
    rows = [
        row('labeled', streams.images_l, streams.samples_l),
        row('labeled, mask', streams.images_l, streams.samples_l, labels=streams.labels),
        row('unlabeled', images_u, samples_u, labels=padding),
    ]
    if labels:
        for name, (label, keep, _) in model.pseudo_labels(images_u, valid).items():
            title = f'pseudo-labels\n{name}: {keep[valid].float().mean():.0%} kept'
            shown = torch.where(keep, label, padding)
            rows.append(row(title, images_u, samples_u, labels=shown))
    for view in model.training_views(streams):
        padding = torch.where(view.valid, UNPAINTED, IGNORE)
        rows.append(row(view.title, view.images, samples_u, labels=padding, outlines=view.masks))
    return rows


def describe(row: SheetRow) -> str:
    """Size of a row's images and the share of their pixels that count nowhere, as text."""
    count, height, width = row.images.shape[:3]
    share = 0 if row.labels is None else (row.labels == IGNORE).mean()
    title = ', '.join(row.title.splitlines())
    return f'{title}: {count} images of {height}×{width} px, {share:.1%} padding or ignored'


def paint(image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Cover an image with its classes' colors; ignored pixels become gray stripes.

    Args:
        image: uint8 (H, W, 3).
        labels: Integer (H, W), as in :class:`SheetRow`.
        palette: C RGB triples.

    Returns:
        uint8 (H, W, 3); the input is not modified.
    """
    picture = image.astype(float)
    covered = labels < len(palette)
    colors = np.array(palette)[labels[covered]]
    picture[covered] = (1 - STRENGTH) * picture[covered] + STRENGTH * colors
    y, x = np.nonzero(labels == IGNORE)
    light = (x + y) // max(2, image.shape[1] // 48) % 2
    picture[y, x] = np.array(STRIPES)[light, None]
    return picture.round().astype(np.uint8)


def draw_contact_sheet(
    rows: Sequence[SheetRow],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    path: str | Path,
    title: str = '',
) -> Path:
    """Draw every row's images beside each other, with a legend of the classes below.

    Args:
        rows: At least one, see :class:`SheetRow`; they may differ in B and in image size.
        classes: C names; the legend has those that occur.
        palette: C RGB triples.
        path: The PNG to write; missing folders are made.
        title: Of the whole picture.

    Returns:
        ``path``.
    """
    columns = max(len(row.images) for row in rows)
    ratio = max(row.images.shape[1] / row.images.shape[2] for row in rows)
    size = (3 * columns + 0.5, (3 * ratio + 0.4) * len(rows) + 1.2)  # inches
    figure = Figure(figsize=size, layout='constrained')
    figure.suptitle(title)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        line[0].set_ylabel(row.title)
        for axis in line[len(row.images) :]:
            axis.set_axis_off()
        for index, (axis, image) in enumerate(zip(line, row.images, strict=False)):
            shown = image if row.labels is None else paint(image, row.labels[index], palette)
            axis.imshow(shown, interpolation='nearest')
            if row.outlines is not None:
                axis.contour(row.outlines[index].astype(float), [0.5], colors=OUTLINE)
            axis.set_title(row.names[index], fontsize=8)
            axis.set(xticks=[], yticks=[])
    present = {label for row in rows if row.labels is not None for label in np.unique(row.labels)}
    handles = [
        Patch(color='#' + bytes(color).hex(), label=name)
        for index, (name, color) in enumerate(zip(classes, palette, strict=True))
        if index in present
    ]
    if IGNORE in present:
        handles.append(Patch(facecolor='w', hatch='////', label='padding or ignored'))
    figure.legend(handles=handles, loc='outside lower center', ncols=2 * columns)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return Path(path)
