"""Normalize and stack a batch whose samples belong to named streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.profiler import record_function


class Grid(NamedTuple):
    """Image sides on which the maps of a network lie where they lay in training: k·stride + offset.

    Strided convolutions, resizing with or without ``align_corners`` and the nearest resizing of an
    FPN agree on where a pixel is on such sides alone; on others predictions are displaced
    (``docs/sizes.md``).
    """

    stride: int
    """The largest stride of the network, pixels."""
    offset: int = 0
    """1 for a network whose maps are resized with ``align_corners=True``, else 0."""

    def fit(self, length: int) -> int:
        """The smallest side on the grid that holds ``length`` pixels."""
        steps = max(1, -(-(length - self.offset) // self.stride))
        return steps * self.stride + self.offset

    def holds(self, length: int) -> bool:
        """Whether a side is on the grid."""
        return self.fit(length) == length

    def nearest(self, length: int) -> str:
        """The sides on the grid around ``length``, for a message."""
        above = self.fit(length)
        below = above - self.stride
        return f'{below} or {above}' if below > self.offset else str(above)


@MODELS.register_module()
class SemiDataPreprocessor(SegDataPreProcessor):
    """mmseg's preprocessor, once a stream, and with image sizes that fit the network.

    In training a batch carries ``stream``, one name a sample (``'sup'``, ``'unsup'``, ...), and
    comes back as ``inputs={name: (B_name, 3, H, W)}`` and ``data_samples={name: [...]}``, in
    the order of the batch. A batch without ``stream`` (validation, test, inference, labeled images
    alone) comes back as mmseg returns it.

    In validation, test and inference, images are padded at the right and bottom to the grid of the
    network. mmseg cuts the padding off the predictions.

    Args:
        *args: As in mmseg's ``SegDataPreProcessor``.
        grid: ``dict(stride=32, offset=0)``, see :class:`Grid`. None: sizes stay as they are.
        size: Crop height and width, pixels, to which training images are padded.
        seg_pad_val: Must be 255, so that padding is never taken for class 0.
        channels_last: Lay images out channels-last. Convolutions keep that layout, which is
            faster for depthwise networks on CPUs and for half precision on GPUs.
        **kwargs: As in ``SegDataPreProcessor``.

    Raises:
        ValueError: ``seg_pad_val`` other than 255; a ``size`` that is not on the grid; ``grid``
            together with ``test_cfg``.
    """

    def __init__(
        self,
        *args: Any,
        grid: dict[str, int] | None = None,
        size: Sequence[int] | None = None,
        seg_pad_val: int = 255,
        channels_last: bool = False,
        **kwargs: Any,
    ) -> None:
        if seg_pad_val != 255:
            raise ValueError(
                f'data_preprocessor.seg_pad_val={seg_pad_val}: padding must be 255 (ignored), '
                'otherwise it is learned as a class'
            )
        super().__init__(*args, size=size, seg_pad_val=seg_pad_val, **kwargs)
        self.grid = None if grid is None else Grid(**grid)
        if self.grid is not None and self.test_cfg:
            raise ValueError(
                f'data_preprocessor has grid={dict(grid or {})} and test_cfg={self.test_cfg}: both '
                'pad test images; remove test_cfg'
            )
        if self.grid is not None and size is not None:
            _check_crop(self.grid, size)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Batch of the dataloader → ``inputs`` and ``data_samples``, by stream in training."""
        names = data.get('stream')
        if not training or names is None:
            return self._stack(data, training)
        inputs, data_samples = {}, {}
        for name in sorted(set(names)):
            members = [i for i, stream in enumerate(names) if stream == name]
            part = {key: [data[key][i] for i in members] for key in ('inputs', 'data_samples')}
            part = self._stack(part, training)
            inputs[name], data_samples[name] = part['inputs'], part['data_samples']
        return dict(inputs=inputs, data_samples=data_samples)

    @record_function('semi/views')
    def strong_view(self, images: Tensor, view: nn.Module | None) -> Tensor:
        """Normalized images (B, 3, H, W) through a view part; None leaves them as they are."""
        if view is None:
            return images
        changed = view(self.unit_range(images)) * 255
        if self._enable_normalize:
            changed = (changed - self.mean) / self.std
        return torch.empty_like(images).copy_(changed)  # in the memory format of the images

    def unit_range(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) with values in [0, 1] again."""
        pixels = images * self.std + self.mean if self._enable_normalize else images
        return pixels / 255

    def _stack(self, data: dict[str, Any], training: bool) -> dict[str, Any]:
        """Mmseg's preprocessing of one stream, then the padding to the grid."""
        stacked = super().forward(data, training)
        if not training and self.grid is not None and stacked['data_samples'] is not None:
            _pad(stacked, self.grid, self.pad_val)
        stacked['inputs'] = stacked['inputs'].contiguous(memory_format=self.memory_format)
        return stacked


def _check_crop(grid: Grid, size: Sequence[int]) -> None:
    """Raise ValueError unless both sides of a crop are on the grid."""
    for name, length in zip(('height', 'width'), size, strict=True):
        if not grid.holds(length):
            plus = f' + {grid.offset}' if grid.offset else ''
            raise ValueError(
                f'data_preprocessor.size={tuple(size)}: the {name} {length} is not k·{grid.stride}'
                f'{plus}, so the maps of the network would not lie on each other and predictions '
                f'would be displaced: use {grid.nearest(length)} (crop_size of the pipelines, too)'
            )


def _pad(batch: dict[str, Any], grid: Grid, value: float) -> None:
    """Pad ``inputs`` (B, 3, H, W) to the grid; the samples remember by how much, for mmseg."""
    height, width = batch['inputs'].shape[2:]
    padding = (0, grid.fit(width) - width, 0, grid.fit(height) - height)
    batch['inputs'] = F.pad(batch['inputs'], padding, value=value)
    shape = tuple(batch['inputs'].shape[2:])
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(img_padding_size=padding, pad_shape=shape))
