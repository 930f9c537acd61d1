"""Predictions as files: masks, colors, overlays with a legend, probabilities and entropy."""

import json
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import mmcv
import mmseg
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..engine.checkpoints import AtomicBackend
from ..version import __version__
from .predict import Prediction
from .sources import Source

SUFFIXES = dict(masks='.png', color='.png', overlay='.png', prob='.npz', entropy='.png')
"""Kinds of output, each a folder, and the suffix of its files."""
MOST_FRAMES = 240.0
"""A second, in the overlay of a video: the format takes no rate beyond, and few digits."""
_STRENGTH = 0.5  # how much of a class's color covers the image
_FONT = Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf')  # many alphabets


def refuse_foreign(
    folders: Iterable[Path], marker: Path, classes: Sequence[str] | None = None
) -> None:
    """Files that something else wrote, such as masks drawn by hand, are neither replaced nor joined.

    Args:
        folders: Where a tool is about to write.
        marker: A file that its earlier runs left beside them.
        classes: Names that the marker must have, if it has any.

    Raises:
        ValueError: A folder has content, and there is no marker, or it is of another origin or names
            other classes.
    """
    if marker.exists():
        with marker.open(encoding='utf-8', errors='replace') as file:
            text = file.read(1000)
            if text and 'mmseg_u2pl' not in text:  # all tools write it at the beginning
                raise ValueError(f'{marker} is of another origin: choose another folder')
        if classes is not None and (before := _classes_of(marker)) not in (None, list(classes)):
            raise ValueError(
                f'{marker} says that masks of other classes are there ({", ".join(before)}): choose another '
                'folder'
            )
        return
    for folder in folders:
        if folder.is_dir() and any(folder.iterdir()):
            raise ValueError(
                f'{folder} has files of another origin (no {marker.name} of these tools): choose another '
                'folder'
            )


def _classes_of(marker: Path) -> Any:
    """Names of the classes that earlier masks have; None: not known."""
    try:
        return json.loads(marker.read_text(encoding='utf-8')).get('classes')
    except ValueError:  # cut off
        return None


class Writer:
    """Writes predictions below a folder, under the names of their images.

    Args:
        out: The folder; it is made.
        kinds: Of :data:`SUFFIXES`.
        classes: C names.
        palette: C RGB triples.
        about: What ``classes.json`` says besides names, palette and versions.

    Raises:
        OSError: The folder cannot be written.
        ValueError: As :func:`refuse_foreign`.
    """

    def __init__(
        self,
        out: str | Path,
        kinds: Collection[str],
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        about: dict[str, Any],
    ) -> None:
        self.out, self.kinds = Path(out), kinds
        self.classes, self.palette = classes, palette
        marker = self.out / 'classes.json'
        refuse_foreign([self.out / kind for kind in kinds], marker, classes)
        self.out.mkdir(parents=True, exist_ok=True)
        versions = dict(
            mmseg_u2pl=__version__, mmseg=mmseg.__version__, torch=str(torch.__version__)
        )
        content = dict(versions=versions, classes=classes, palette=palette, **about)
        text = json.dumps(content, indent=1, ensure_ascii=False) + '\n'
        AtomicBackend().put(text.encode(), marker)
        self._videos: dict[str, cv2.VideoWriter] = {}

    def path(self, kind: str, name: str, of_video: bool = False) -> Path:
        """The file of one kind; of a video, that of its overlay."""
        suffix = '.mp4' if kind == 'overlay' and of_video else SUFFIXES[kind]
        return self.out / kind / f'{name}{suffix}'

    def check(self, sources: Iterable[Source]) -> None:
        """Raise ValueError if an image would be overwritten by what is predicted for one."""
        sources = list(sources)
        inputs = {os.path.realpath(source.path) for source in sources}
        for source in sources:
            for kind in self.kinds:
                path = self.path(kind, source.name, source.is_video)
                if os.path.realpath(path) in inputs:
                    raise ValueError(f'{path} is an image to predict: choose another folder by -o')

    def __call__(self, prediction: Prediction) -> None:
        """Write every kind for one image."""
        for kind in self.kinds:
            path = self.path(kind, prediction.name)
            if kind == 'overlay' and prediction.item.video:
                self._add_frame(prediction, prediction.item.video)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == 'prob':
                np.savez_compressed(path, probabilities=np.asarray(prediction.probabilities))
            else:
                self._picture(kind, prediction).save(path)

    def _picture(self, kind: str, prediction: Prediction) -> Image.Image:
        if kind == 'masks':
            return Image.fromarray(prediction.mask)
        if kind == 'entropy':
            return Image.fromarray(np.asarray(prediction.entropy))
        if kind == 'overlay':
            return self._overlay(prediction, np.unique(prediction.mask))
        if prediction.mask.dtype != np.uint8:
            return Image.fromarray(np.array(self.palette, np.uint8)[prediction.mask])
        picture = Image.fromarray(prediction.mask)
        picture.putpalette([part for color in self.palette for part in color])
        return picture

    def _overlay(self, prediction: Prediction, shown: Iterable[int]) -> Image.Image:
        image = prediction.item.image
        image = mmcv.imread(image) if isinstance(image, str) else image
        painted = overlay(image[..., ::-1], prediction.mask, self.palette)
        return with_legend(painted, [(self.classes[c], self.palette[c]) for c in shown])

    def _add_frame(self, prediction: Prediction, source: str) -> None:
        """The legend of a video has every class: its frames have one size."""
        frame = np.array(self._overlay(prediction, range(len(self.classes))))
        name = prediction.name.rpartition('/')[0]
        if source not in self._videos:
            path = self.path('overlay', name, of_video=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter.fourcc(*'mp4v')
            rate = round(mmcv.VideoReader(source).fps, 2) or 25.0  # some files do not say
            video = cv2.VideoWriter(str(path), codec, min(rate, MOST_FRAMES), frame.shape[1::-1])
            if not video.isOpened():
                raise OSError(
                    f'{path} cannot be written: leave out --overlay, or give a folder of frames'
                )
            self._videos[source] = video
        self._videos[source].write(frame[..., ::-1])

    def close(self) -> None:
        """Finish the videos."""
        for video in self._videos.values():
            video.release()


def overlay(image: np.ndarray, mask: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Half of each class's color over an image; a black class, often the background, is clear.

    Args:
        image: RGB uint8 (H, W, 3).
        mask: Classes (H, W).
        palette: C RGB triples.

    Returns:
        RGB uint8 (H, W, 3).
    """
    colors = np.array(palette, np.float32)
    strength = np.where(colors.any(1), _STRENGTH, 0).astype(np.float32)[mask][..., None]
    return ((1 - strength) * image + strength * colors[mask]).round().astype(np.uint8)


def with_legend(image: np.ndarray, entries: Sequence[tuple[str, Sequence[int]]]) -> Image.Image:
    """An image with names and RGB colors of classes below it, in as many lines as they need."""
    height, width = image.shape[:2]
    size = int(np.clip(min(height, width) / 28, 11, 48))
    font, line = ImageFont.truetype(str(_FONT), size), round(1.6 * size)
    ends = [2 * size + int(font.getlength(name)) for name, _ in entries]
    full = max(width, *(size + end for end in ends))
    x, y, places = size // 2, height + size // 2, []
    for end in ends:
        if x + end > full and x > size // 2:
            x, y = size // 2, y + line
        places.append((x, y))
        x += end
    picture = Image.new('RGB', (full, y + line), 'white')
    picture.paste(Image.fromarray(np.ascontiguousarray(image)))
    draw = ImageDraw.Draw(picture)
    for (name, color), (x, y) in zip(entries, places, strict=True):
        fill = tuple(color) if any(color) else 'white'  # clear in the picture
        draw.rectangle((x, y, x + size, y + size), fill=fill, outline='black')
        draw.text((x + 1.3 * size, y + size / 2), name, fill='black', font=font, anchor='lm')
    return picture
