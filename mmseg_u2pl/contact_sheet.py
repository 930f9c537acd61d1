"""A contact sheet: one row a stream or a prediction, one column an image."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from .compat import swaps_channels
from .functional import IGNORE, entropy_map
from .models import SemiSegmentor
from .models.segmentors.batch import PseudoLabels

UNPAINTED = 254  # label of pixels that show the image
STRENGTH = 0.6  # how much of a class's color covers the image
STRIPES = (70, 185)  # grays of pixels that count nowhere; stripes look like no class
MOST_LINES = 30  # of a legend
LONGEST = 4  # of the width, how high an image is drawn at most
OUTLINE = '#ff2fd6'
COUNTS_NOWHERE, UNRELIABLE = 'padding or ignored', 'unreliable'
RELIABLE = 'reliable\nstripes: not'  # title of a row
WRONG = {'wrong and reliable': (230, 0, 0), 'wrong, unreliable': (255, 170, 0)}


Pictures: TypeAlias = Sequence[np.ndarray] | np.ndarray
Column: TypeAlias = tuple[str, Sequence[tuple[str, np.ndarray, Tensor | None]]]
"""A title, and cells: what they show, RGB uint8 (H, W, 3), and labels over it."""


class SheetRow(NamedTuple):
    """The images of one row, and what is drawn over them."""

    title: str
    images: Pictures  # B times uint8 (H, W, 3), RGB
    names: Sequence[str]  # B titles of images
    labels: Pictures | None = None  # B times integer (H, W); 255 = ignored, or UNPAINTED
    outlines: Pictures | None = None  # B times boolean (H, W), their edges are drawn
    stripes: str = COUNTS_NOWHERE  # what they mean


def ending(name: str, length: int = 36) -> str:
    """A name, or its end after an ellipsis."""
    return name if len(name) <= length else f'…{name[1 - length :]}'


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
    if not swaps_channels(preprocessor):
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
        names = [ending(Path(sample.img_path).stem) for sample in samples[: len(images)]]
        arrays: dict[str, Any] = {
            key: value.cpu().numpy() for key, value in maps.items() if value is not None
        }
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
            shown = label.where(keep, IGNORE)
            rows.append(row(title, images_u, samples_u, labels=shown)._replace(stripes=UNRELIABLE))
    for view in model.training_views(streams):
        padding = torch.where(view.valid, UNPAINTED, IGNORE)
        rows.append(row(view.title, view.images, samples_u, labels=padding, outlines=view.masks))
    return rows


def pseudo_label_column(
    name: str,
    shown: np.ndarray,
    found: Mapping[str, PseudoLabels],
    truth: Tensor | None,
    index: int,
) -> Column:
    """What networks label an image, for :func:`pseudo_label_sheet`.

    Args:
        name: Its title.
        shown: RGB uint8 (H, W, 3).
        found: Labels (B, H, W) by the name of the network that labels.
        truth: Ground truth (B, H, W), for the errors.
        index: Of the image among the B.
    """
    cells: list[tuple[str, np.ndarray, Tensor | None]] = [('image', shown, None)]
    for network, labels in found.items():
        label, keep, prob = (maps[index].cpu() for maps in labels)
        entropy = (entropy_map(prob, 0) / np.log(len(prob))).numpy()
        heat = (255 * colormaps['magma'](entropy)[..., :3]).astype(np.uint8)
        cells += [
            (f'{network}:\npseudo-label', shown, label),
            ('entropy\nblack 0, white ln C', heat, None),
            (RELIABLE, shown, label.where(keep, IGNORE)),
        ]
        if truth is not None:
            true = truth[index].cpu()
            wrong = (true != label) & (true != IGNORE)
            errors = torch.where(wrong, len(prob) + (~keep).long(), UNPAINTED)
            cells.append(('errors', shown, errors))
    if truth is not None:
        cells.append(('ground truth', shown, truth[index].cpu()))
    return name, cells


def pseudo_label_sheet(columns: Sequence[Column], meta: Mapping[str, Any]) -> np.ndarray:
    """A :func:`contact_sheet`, RGB uint8 (H, W, 3), with ``classes`` and ``palette`` of ``meta``."""
    names = [name for name, _ in columns]
    rows = []
    for line in zip(*(cells for _, cells in columns), strict=True):
        labels = [painted.numpy() for *_, painted in line if painted is not None]
        title, pictures = line[0][0], [picture for _, picture, _ in line]
        stripes = UNRELIABLE if title == RELIABLE else COUNTS_NOWHERE
        rows.append(SheetRow(title, pictures, names, labels or None, stripes=stripes))
    classes, palette = [*meta['classes'], *WRONG], [*meta['palette'], *WRONG.values()]
    canvas = FigureCanvasAgg(contact_sheet(rows, classes, palette))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def describe(row: SheetRow) -> str:
    """Size of a row's images and the share of their pixels that count nowhere, as text."""
    count, (height, width) = len(row.images), row.images[0].shape[:2]
    share = 0 if row.labels is None else np.mean([(part == IGNORE).mean() for part in row.labels])
    title = ', '.join(row.title.splitlines())
    return f'{title}: {count} images of {height}×{width} px, {share:.1%} {row.stripes}'


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
    """Write a :func:`contact_sheet` as a PNG; missing folders are made.

    Returns:
        ``path``.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, classes, palette, title).savefig(path)
    return Path(path)


def contact_sheet(
    rows: Sequence[SheetRow],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    title: str = '',
) -> Figure:
    """Draw every row's images beside each other, with a legend of the classes below.

    Args:
        rows: At least one, see :class:`SheetRow`; they may differ in B and in image size.
        classes: C names; the legend has those that occur.
        palette: C RGB triples.
        title: Of the whole picture.
    """
    columns = max(len(row.images) for row in rows)
    titled = [i == 0 or [*row.names] != [*rows[i - 1].names] for i, row in enumerate(rows)]
    ratios = [max(image.shape[0] / image.shape[1] for image in row.images) for row in rows]
    # a title beside each row, of letters of 0.09 inches
    beside = [0.09 * max(map(len, row.title.splitlines()), default=0) for row in rows]
    heights = [
        max(3 * min(ratio, LONGEST), length) + (0.4 if names else 0.15)
        for ratio, length, names in zip(ratios, beside, titled, strict=True)
    ]
    handles = _legend(rows, classes, palette)
    width = 3 * columns + 0.5  # inches
    entry = 0.6 + 0.1 * max((len(str(handle.get_label())) for handle in handles), default=0)
    in_a_line = max(1, int(width / entry), math.ceil(len(handles) / MOST_LINES))
    lines = math.ceil(len(handles) / in_a_line)
    size = (max(width, in_a_line * entry), sum(heights) + 0.7 + 0.25 * lines)
    figure = Figure(figsize=size, dpi=150, layout='constrained')
    figure.suptitle(title)
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for line, row, has_title in zip(axes, rows, titled, strict=True):
        line[0].set_ylabel(row.title)
        for axis in line[len(row.images) :]:
            axis.set_axis_off()
        for index, (axis, image) in enumerate(zip(line, row.images, strict=False)):
            picture = image if row.labels is None else paint(image, row.labels[index], palette)
            axis.imshow(picture, interpolation='nearest')
            if row.outlines is not None:
                axis.contour(row.outlines[index].astype(float), [0.5], colors=OUTLINE)
            if has_title:
                axis.set_title(row.names[index], fontsize=8, parse_math=False)
            axis.set(xticks=[], yticks=[])
    figure.legend(handles=handles, loc='outside lower center', ncols=in_a_line)
    return figure


def _legend(
    rows: Sequence[SheetRow], classes: Sequence[str], palette: Sequence[Sequence[int]]
) -> list[Patch]:
    """The classes that occur, and what stripes mean."""
    found = [
        {label for part in (() if row.labels is None else row.labels) for label in np.unique(part)}
        for row in rows
    ]
    present = set[Any]().union(*found)
    handles = [
        Patch(color='#' + bytes(color).hex(), label=name.replace('$', r'\$'))
        for index, (name, color) in enumerate(zip(classes, palette, strict=True))
        if index in present
    ]
    if striped := dict.fromkeys(
        row.stripes for row, here in zip(rows, found, strict=True) if IGNORE in here
    ):
        handles.append(Patch(facecolor='w', hatch='////', label=', '.join(striped)))
    return handles
