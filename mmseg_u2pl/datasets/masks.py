"""Load masks of any common format: class numbers, a palette, gray values or colors."""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from .files import READ_ERRORS, require_size

INDEX_MODES = ('1', 'L', 'P', 'I', 'I;16', 'I;16L', 'I;16B')
"""PIL modes of images with one whole number a pixel."""


@TRANSFORMS.register_module()
class LoadMask(LoadAnnotations):
    """Load a mask as class numbers, whatever it looks like on disk.

    By default a pixel is its class: gray images of 8 or 16 bits, and the indices of palette
    images. Pixels of class 255 have no label. mmseg's ``reduce_zero_label`` and
    class maps apply to the result.

    Required keys: ``seg_map_path``. Added: ``gt_seg_map`` uint8 (H, W); modified: ``seg_fields``.
    An image of no data set, as an inferencer gets it, has no mask and passes unchanged.

    Args:
        values: For gray masks that hold other values: ``{0: 0, 255: 1}`` or, as a command line
            can write it, ``[[0, 0], [255, 1]]``: value → class, each value of the masks once.
        colors: For color masks: class c is ``colors[c]``, (R, G, B) of 0 ... 255. Palette images
            count by their colors then; transparency does not count.
        ignore_colors: Colors of pixels without label.

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
    ) -> None:
        super().__init__()
        if values is not None and colors is not None:
            raise ValueError('LoadMask: give values for gray masks or colors for color masks')
        if ignore_colors and colors is None:
            raise ValueError(f'LoadMask: ignore_colors={ignore_colors!r} needs colors')
        self.values = _parse_values(values)
        self.colors = None
        if colors is not None:
            self.colors = _parse_colors(colors, ignore_colors)

    def _load_seg_map(self, results: dict) -> None:
        if 'seg_map_path' not in results:
            return
        path = results['seg_map_path']
        labels = self.decode(Path(path).read_bytes(), path)
        if 'ori_shape' in results:
            height, width = results['ori_shape']
            require_size(path, labels.shape[::-1], results.get('img_path', ''), (width, height))
        if results.get('reduce_zero_label'):
            labels = np.where((labels == 0) | (labels == 255), 255, labels - 1).astype(np.uint8)
        if label_map := results.get('label_map'):
            table = np.arange(256, dtype=np.uint8)
            table[list(label_map)] = list(label_map.values())
            labels = table[labels]
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
        if self.colors is not None:
            rgbx = np.asarray(image.convert('RGB').convert('RGBX'))
            codes = rgbx.view('<u4')[..., 0] & 0xFFFFFF  # faster than arithmetic on channels
            labels = _table(self.colors, 1 << 24)[codes]
        else:
            if image.mode not in INDEX_MODES:
                raise ValueError(color_mask(path, image.mode))
            codes = np.asarray(image)
            if self.values is None and codes.dtype in (np.uint8, bool):
                return codes.astype(np.uint8)
            table = _table(self.values or tuple((n, n) for n in range(256)), 65538)
            labels = table[np.clip(codes, -1, 65536)]  # its last two: too large, and negative
        if labels.min() < 0:
            raise ValueError(self._unknown(labels, codes, path))
        return labels.astype(np.uint8)

    def _unknown(self, labels: np.ndarray, codes: np.ndarray, path: str) -> str:
        """The message for the first pixel (H, W) whose label is −1: its code is not known."""
        y, x = np.unravel_index(int(np.argmin(labels >= 0)), labels.shape)
        code = int(codes[y, x])
        what = f'value {code}'
        remedy = 'labels are 0 ... 255: map the values by LoadMask(values={value: class, ...})'
        if self.values is not None:
            known = ', '.join(str(value) for value, _ in self.values)
            remedy = f'values has {known}: add it, with 255 to ignore it'
        elif self.colors is not None:
            what = f'color {list(code.to_bytes(3, "little"))}'
            remedy = (
                'add it to colors, or to ignore_colors. If there are many, the masks were resized '
                'or saved as JPEG, which blends colors: export them as PNG'
            )
        return (
            f'mask {path!r} has the {what}, which is not a class: {(codes == code).sum()} pixels, '
            f'the first at (x={x}, y={y}); {(labels < 0).sum()} of its {labels.size} pixels are '
            f'unknown. {remedy}'
        )


def color_mask(path: str, mode: str) -> str:
    """The message for a mask that is a color image where class numbers are expected."""
    return (
        f'mask {path!r} is a {mode} image, not one of class numbers. If its colors mean classes, '
        "load it by dict(type='LoadMask', colors=[[r, g, b], ...]), one color a class in order; "
        'if the other masks are class numbers, export this one as they are'
    )


def _parse_values(
    values: Mapping | Sequence[Sequence[int]] | None,
) -> tuple[tuple[int, int], ...] | None:
    """(value, class) pairs; the keys of a config that went through JSON are strings."""
    if values is None:
        return None
    pairs = values.items() if isinstance(values, Mapping) else values
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
) -> tuple[tuple[int, int], ...]:
    """(color, class) pairs; a color is one number, red in its lowest byte."""
    if len(colors) > 255:
        raise ValueError(f'LoadMask: {len(colors)} colors; labels are bytes, so 255 at most')
    labels = [*range(len(colors)), *[255] * len(ignore_colors)]
    parsed: dict[int, int] = {}
    for color, label in zip([*colors, *ignore_colors], labels, strict=True):
        try:
            code = int.from_bytes([*color], 'little')
        except (TypeError, ValueError):
            code = -1
        if code < 0 or len(color) != 3:
            raise ValueError(f'LoadMask: color {color!r}: give [r, g, b], each 0 ... 255')
        if code in parsed:
            raise ValueError(f'LoadMask: color {color!r} is given twice: a color has one class')
        parsed[code] = label
    return tuple(parsed.items())


@lru_cache(maxsize=4)
def _table(labels: tuple[tuple[int, int], ...], size: int) -> np.ndarray:
    """Class of each code, int16 (size,), −1 where it has none; of all colors 32 MiB."""
    table = np.full(size, -1, dtype=np.int16)
    table[[code for code, _ in labels]] = [label for _, label in labels]
    return table
