"""Load masks of any common format: class numbers, a palette, grey values or colors."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import mmengine.fileio as fileio
import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from .headers import READ_ERRORS, require_size

Color = tuple[int, int, int]
INDEX_MODES = ('1', 'L', 'P', 'I', 'I;16', 'I;16L', 'I;16B')
"""PIL modes of images with one whole number a pixel."""


@TRANSFORMS.register_module()
class LoadMask(LoadAnnotations):
    """Load a mask as class numbers, whatever it looks like on disk.

    By default a pixel is its class: grey images of 8 or 16 bits, and the indices of palette
    images. Pixels of class ``ignore_index`` have no label. mmseg's ``reduce_zero_label`` and
    class maps apply to the result.

    Required keys: ``seg_map_path``. Added: ``gt_seg_map`` uint8 (H, W); modified: ``seg_fields``.
    An image of no data set, as an inferencer gets it, has no mask and passes unchanged.

    Args:
        values: For grey masks that hold other values: ``{0: 0, 255: 1}`` or, as a command line
            can write it, ``[[0, 0], [255, 1]]``: value → class, each value of the masks once.
        colors: For color masks: class c is ``colors[c]``, (R, G, B) of 0 ... 255. Palette images
            count by their colors then; transparency does not count.
        ignore_colors: Colors of pixels without label.
        ignore_index: Their class.
        backend_args: As in mmseg's ``LoadAnnotations``.

    Raises:
        ValueError: ``values`` and ``colors`` both, or not as above. In use: a value or color that
            is not known, a color mask without ``colors``, a mask of another size than its image;
            names the file.
    """

    def __init__(
        self,
        values: Mapping | Sequence[Sequence[int]] | None = None,
        colors: Sequence[Sequence[int]] | None = None,
        ignore_colors: Sequence[Sequence[int]] = (),
        ignore_index: int = 255,
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(backend_args=backend_args)
        if values is not None and colors is not None:
            raise ValueError('LoadMask: give values for grey masks or colors for color masks')
        if ignore_colors and colors is None:
            raise ValueError(f'LoadMask: ignore_colors={ignore_colors!r} needs colors')
        self.values = None if values is None else _parse_values(values)
        self.colors = None if colors is None else _parse_colors(colors, ignore_colors)
        if colors is not None and len(colors) > 255:
            raise ValueError(f'LoadMask: {len(colors)} colors; labels are bytes, so 255 at most')
        self.num_colors = 0 if colors is None else len(colors)
        self.ignore_index = ignore_index

    def _load_seg_map(self, results: dict) -> None:
        if 'seg_map_path' not in results:
            return
        path = results['seg_map_path']
        labels = self.decode(fileio.get(path, backend_args=self.backend_args), path)
        if 'ori_shape' in results:
            height, width = results['ori_shape']
            require_size(path, labels.shape[::-1], results.get('img_path', ''), (width, height))
        if results.get('reduce_zero_label') or results.get('label_map'):
            labels = _mmseg_map(results)[labels]
        results['gt_seg_map'] = labels
        results['seg_fields'].append('gt_seg_map')

    def decode(self, content: bytes, path: str) -> np.ndarray:
        """Classes uint8 (H, W) of an encoded mask.

        Args:
            content: Of the file.
            path: Its name, for messages.

        Raises:
            ValueError: The content is not an image, or as the class.
        """
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        except READ_ERRORS as error:
            raise ValueError(f'cannot read the mask {path!r}: {error}') from error
        of = self._of_values if self.colors is None else self._of_colors
        return of(image, path)

    def _of_values(self, image: Image.Image, path: str) -> np.ndarray:
        """Classes uint8 (H, W) of a mask of whole numbers."""
        if image.mode not in INDEX_MODES:
            raise ValueError(
                f'mask {path!r} is a {image.mode} image, not one of class numbers. If its colors '
                "mean classes, say which: dict(type='LoadMask', colors=[[r, g, b], ...]), one "
                'color a class in their order'
            )
        array = np.asarray(image)
        if self.values is None and array.dtype in (np.uint8, bool):
            return array.astype(np.uint8)
        table = _value_table(self.values)
        codes = np.clip(array, -1, len(table) - 2)  # the last two: too large, and negative
        labels = table[codes]
        self._check(labels, array, path)
        return labels.astype(np.uint8)

    def _of_colors(self, image: Image.Image, path: str) -> np.ndarray:
        """Classes uint8 (H, W) of a mask of colors."""
        assert self.colors is not None
        if image.mode.startswith(('I', 'F')):
            raise ValueError(
                f'mask {path!r} is a {image.mode} image, which has no colors: take '
                'LoadMask without colors if its values are class numbers, or with values'
            )
        table = _color_table(self.colors, self.num_colors, self.ignore_index)
        packed = np.asarray(image.convert('RGB').convert('RGBX')).view('<u4')[..., 0]
        codes = packed & 0xFFFFFF  # ten times as fast as _codes
        labels = table[codes]
        self._check(labels, codes, path)
        return labels.astype(np.uint8)

    def _check(self, labels: np.ndarray, codes: np.ndarray, path: str) -> None:
        """Name the first pixel (H, W) whose label is −1: its value or color is not known.

        Raises:
            ValueError: There is one.
        """
        if labels.min() >= 0:
            return
        y, x = np.unravel_index(int(np.argmin(labels >= 0)), labels.shape)
        code = int(codes[y, x])
        pixels, unknown = int((codes == code).sum()), int((labels < 0).sum())
        what = f'value {code}'
        remedy = 'labels are 0 ... 255: map the values by LoadMask(values={value: class, ...})'
        if self.values is not None:
            known = ', '.join(str(value) for value, _ in self.values)
            remedy = f'values has {known}: add it, with {self.ignore_index} to ignore it'
        elif self.colors is not None:
            what = f'color {list(_color(code))}'
            remedy = (
                'add it to colors, or to ignore_colors. If there are many, the masks were resized '
                'or saved as JPEG, which blends colors: export them as PNG'
            )
        raise ValueError(
            f'mask {path!r} has the {what}, which is not a class: {pixels} pixels, the first at '
            f'(x={x}, y={y}); {unknown} of its {labels.size} pixels are unknown. {remedy}'
        )

    def __repr__(self) -> str:
        what = '' if self.values is None else f'values={self.values}'
        if self.colors is not None:
            split = self.num_colors
            what = f'colors={self.colors[:split]}, ignore_colors={self.colors[split:]}'
        return f'{type(self).__name__}({what})'


def _parse_values(values: Mapping | Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """(value, class) pairs; the keys of a config that went through JSON are strings."""
    pairs = list(values.items()) if isinstance(values, Mapping) else list(values)
    try:
        parsed = tuple((int(value), int(label)) for value, label in pairs)
    except (TypeError, ValueError) as error:
        raise ValueError(f'LoadMask: values={values!r}: give {{value: class, ...}}') from error
    bad = [pair for pair in parsed if not (0 <= pair[0] <= 65535 and 0 <= pair[1] <= 255)]
    if bad or not parsed:
        raise ValueError(
            f'LoadMask: values={values!r}: values are 0 ... 65535 and classes 0 ... 255'
        )
    if len(dict(parsed)) < len(parsed):
        raise ValueError(f'LoadMask: values={values!r} has a value twice')
    return parsed


def _parse_colors(
    colors: Sequence[Sequence[int]], ignore_colors: Sequence[Sequence[int]]
) -> tuple[Color, ...]:
    """All colors, those to ignore last."""
    parsed: dict[Color, None] = {}
    for color in [*colors, *ignore_colors]:
        array = np.asarray(color)
        if (
            array.shape != (3,)
            or array.dtype.kind not in 'iu'
            or array.min() < 0
            or array.max() > 255
        ):
            raise ValueError(f'LoadMask: color {color!r}: give [r, g, b], each 0 ... 255')
        r, g, b = array.tolist()
        if (r, g, b) in parsed:
            raise ValueError(f'LoadMask: color {color!r} is given twice: a color has one class')
        parsed[r, g, b] = None
    return tuple(parsed)


@lru_cache(maxsize=8)
def _value_table(values: tuple[tuple[int, int], ...] | None) -> np.ndarray:
    """Class of each value, int16 (65538,): 0 ... 65535, and −1 for larger and negative ones."""
    table = np.full(65538, -1, dtype=np.int16)
    if values is None:
        table[:256] = np.arange(256)
    else:
        table[[value for value, _ in values]] = [label for _, label in values]
    return table


@lru_cache(maxsize=2)
def _color_table(colors: tuple[Color, ...], num_classes: int, ignore_index: int) -> np.ndarray:
    """Class of each color code, int16 (2**24,), 32 MiB; −1 for other colors."""
    table = np.full(1 << 24, -1, dtype=np.int16)
    labels = np.full(len(colors), ignore_index)
    labels[:num_classes] = np.arange(num_classes)
    table[_codes(np.array(colors))] = labels
    return table


def _codes(rgb: np.ndarray) -> np.ndarray:
    """One number a color, red in the lowest byte: (..., 3) → uint32 (...)."""
    wide = rgb.astype(np.uint32)
    return wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16


def _color(code: int) -> Color:
    return code & 255, code >> 8 & 255, code >> 16


def _mmseg_map(results: Mapping[str, Any]) -> np.ndarray:
    """What mmseg's data set asks for, uint8 (256,): ``reduce_zero_label``, then ``label_map``."""
    table = np.arange(256)
    if results.get('reduce_zero_label'):
        table = np.where((table == 0) | (table == 255), 255, table - 1)
    label_map = results.get('label_map') or {}
    mapped = np.arange(256)
    mapped[list(label_map)] = list(label_map.values())
    return mapped[table].astype(np.uint8)
