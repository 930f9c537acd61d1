"""A contact sheet of what the network gets in training: one row a stream, one column an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..functional import IGNORE
from ..models import SemiSegmentor
from .comparison import colorize

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRENGTH = 0.6
"""How much of a class's color covers the image."""
STRIPES = (70, 185)
"""Dark and light gray of pixels that count nowhere; as stripes no class can be taken for them."""
OUTLINE = '#ff2fd6'
MANY = 30
"""With more classes than this the legend names only those in the picture."""


class SheetRow(NamedTuple):
    """The images of one stream, and what is drawn over them."""

    title: str
    images: np.ndarray  # uint8 (B, H, W, 3), RGB
    names: Sequence[str]  # B titles of images
    labels: np.ndarray | None = None  # integer (B, H, W), 255 = ignored
    ignored: np.ndarray | None = None  # boolean (B, H, W): padding, where there are no labels
    outlines: np.ndarray | None = None  # boolean (B, H, W), their edges are drawn
    keep: np.ndarray | None = None  # boolean (B, H, W), other labels are not drawn


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
        unlabeled images, their views and, if asked for, their pseudo-labels.
    """
    data = model.data_preprocessor(batch, True)
    inputs, samples = data['inputs'], data['data_samples']

    def row(title: str, images: Tensor, samples: list, **maps: Tensor | None) -> SheetRow:
        names = [_short(Path(sample.img_path).stem) for sample in samples[: len(images)]]
        arrays = {key: value.cpu().numpy() for key, value in maps.items() if value is not None}
        return SheetRow(title, display_images(images, model.data_preprocessor), names, **arrays)

    if not isinstance(model, SemiSegmentor):
        truth = torch.cat([sample.gt_sem_seg.data for sample in samples])
        rows = [row('labeled', inputs, samples)]
        return [*rows, row('labeled, mask', inputs, samples, labels=truth)]
    streams = model.stream_batch(inputs, samples)
    samples_u = samples['unsup']
    rows = [
        row('labeled', streams.images_l, streams.samples_l),
        row('labeled, mask', streams.images_l, streams.samples_l, labels=streams.labels),
        row('unlabeled', streams.images_u, samples_u, ignored=~streams.valid),
    ]
    if labels:
        found = model.pseudo_labels(streams.images_u, streams.valid)
        for name, (label, keep, _) in found.items():
            title = f'pseudo-labels\n{name}: {keep[streams.valid].float().mean():.0%} kept'
            rows.append(row(title, streams.images_u, samples_u, labels=label, keep=keep))
    for title, images, valid, masks in model.training_views(streams):
        rows.append(row(title, images, samples_u, ignored=~valid, outlines=masks))
    return rows


def describe(row: SheetRow, classes: Sequence[str]) -> str:
    """Numbers of a row, as text: size, share of the pixels that count nowhere, of each class."""
    count, height, width = row.images.shape[:3]
    title = row.title.replace('\n', ', ')
    text = f'{title}: {count} images of {height}×{width} px'
    if row.labels is None:
        return text if row.ignored is None else f'{text}, {row.ignored.mean():.1%} padding'
    ignored = row.labels == IGNORE
    counts = np.bincount(row.labels[~ignored], minlength=len(classes))
    shares = counts / max(1, counts.sum())
    present = [f'{classes[i]} {shares[i]:.1%}' for i in np.argsort(-shares) if counts[i]]
    absent = [name for name, number in zip(classes, counts, strict=True) if not number]
    text += f', {ignored.mean():.1%} ignored or padding\n  classes: {", ".join(present) or "none"}'
    return text + (f'\n  absent: {", ".join(absent)}' if absent else '')


def paint(
    image: np.ndarray,
    labels: np.ndarray | None,
    ignored: np.ndarray | None,
    palette: Sequence[Sequence[int]],
    keep: np.ndarray | None = None,
) -> np.ndarray:
    """Cover an image with its classes' colors; ignored pixels become gray stripes.

    Args:
        image: uint8 (H, W, 3).
        labels: Integer (H, W), 255 = ignored; None colors nothing.
        ignored: Boolean (H, W); None ignores what ``labels`` does.
        palette: C RGB triples.
        keep: Boolean (H, W), where labels are drawn; None: everywhere.

    Returns:
        uint8 (H, W, 3); the input is not modified.
    """
    picture = image.astype(float)
    if labels is not None:
        strength = STRENGTH if keep is None else STRENGTH * keep[..., None]
        picture = (1 - strength) * picture + strength * colorize(labels, palette)
        ignored = labels == IGNORE if ignored is None else ignored | (labels == IGNORE)
    if ignored is not None:
        y, x = np.indices(image.shape[:2])
        light = (x + y) // max(2, image.shape[1] // 48) % 2
        picture[ignored] = np.array(STRIPES)[light[ignored], None]
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

    columns = max(len(row.images) for row in rows)
    ratio = max(row.images.shape[1] / row.images.shape[2] for row in rows)
    width = min(4.0, max(2.6, max(row.images.shape[2] for row in rows) / 150))  # inches a panel
    handles = _legend(rows, classes, palette)
    legend_columns = max(1, min(len(handles), int(columns * width / 1.3)))
    lines = math.ceil(len(handles) / legend_columns)
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(width * columns + 0.5, (width * ratio + 0.32) * len(rows) + 0.5 + 0.2 * lines),
        squeeze=False,
    )
    for line, row in zip(axes, rows, strict=True):
        for axis in line[len(row.images) :]:
            axis.set_visible(False)
        line[0].set_ylabel(row.title, fontsize=10)
        for index, image in enumerate(row.images):
            labels, ignored, outlines, keep = (
                None if maps is None else maps[index]
                for maps in (row.labels, row.ignored, row.outlines, row.keep)
            )
            axis = line[index]
            axis.imshow(paint(image, labels, ignored, palette, keep), interpolation='nearest')
            if outlines is not None:
                _outline(axis, outlines)
            axis.set_title(row.names[index], fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
    figure.set_layout_engine('constrained', h_pad=0.06)  # a name belongs to the image below it
    figure.suptitle(title, fontsize=11)
    figure.legend(
        handles=handles, loc='outside lower center', ncols=legend_columns, fontsize=9, frameon=False
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return Path(path)


def _short(name: str, length: int = 36) -> str:
    """A name shortened from the left, where those of a data set are alike."""
    return name if len(name) <= length else f'…{name[1 - length :]}'


def _outline(axis: Axes, mask: np.ndarray) -> None:
    """The edges of a mask (H, W), closed where it touches the image's border."""
    height, width = mask.shape
    x, y = np.arange(-1, width + 1), np.arange(-1, height + 1)
    for color, thickness in (('white', 3.2), (OUTLINE, 1.6)):  # white sets it off the image
        axis.contour(x, y, np.pad(mask, 1).astype(float), [0.5], colors=color, linewidths=thickness)
    axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _legend(
    rows: Sequence[SheetRow], classes: Sequence[str], palette: Sequence[Sequence[int]]
) -> list[Any]:
    """One patch a class, one for ignored pixels, one line for outlines."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    drawn = [row.labels for row in rows if row.labels is not None]
    present = {int(value) for labels in drawn for value in np.unique(labels)}
    handles: list[Any] = [
        Patch(facecolor='#' + bytes(color).hex(), edgecolor='0.6', linewidth=0.5, label=name)
        for index, (name, color) in enumerate(zip(classes, palette, strict=True))
        if drawn and (len(classes) <= MANY or index in present)
    ]
    dark, light = (str(gray / 255) for gray in STRIPES)
    stripes = Patch(facecolor=light, edgecolor=dark, hatch='/////', linewidth=0)
    stripes.set_label('padding or ignored')
    handles.append(stripes)
    if any(row.outlines is not None for row in rows):
        handles.append(Line2D([], [], color=OUTLINE, lw=1.6, label='edge of the mix'))
    return handles
