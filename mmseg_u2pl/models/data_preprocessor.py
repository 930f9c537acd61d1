"""Normalize and stack a batch whose samples belong to named streams."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.profiler import record_function

from ..compat import swaps_channels


class Grid(NamedTuple):
    """Image sides k·stride + offset, on which all maps of a network agree on where a pixel is.

    On other sides predictions are displaced (``docs/sizes.md``).
    """

    stride: int
    """The largest stride of the network, pixels."""
    offset: int = 0
    """1 for a network whose maps are resized with ``align_corners=True``, else 0."""

    def fit(self, length: int) -> int:
        """The smallest side on the grid that holds ``length`` pixels."""
        steps = max(1, -(-(length - self.offset) // self.stride))
        return steps * self.stride + self.offset

    def nearest(self, length: int) -> str:
        """The sides on the grid around ``length``, for a message."""
        above = self.fit(length)
        below = above - self.stride
        return f'{below} or {above}' if below > self.offset else str(above)

    def check(self, size: Sequence[int], setting: str, note: str = '') -> None:
        """Raise ValueError unless both sides of a crop, as a setting has them, are on the grid."""
        for name, length in zip(('height', 'width'), size, strict=True):
            if self.fit(length) != length:
                plus = f' + {self.offset}' if self.offset else ''
                raise ValueError(
                    f'{setting}={tuple(size)}: the {name} {length} is not k·{self.stride}{plus}, '
                    'so the maps of the network would not lie on each other and predictions would '
                    f'be displaced: use {self.nearest(length)}{note}'
                )


@MODELS.register_module()
class SemiDataPreprocessor(SegDataPreProcessor):
    """mmseg's preprocessor, once a stream, and with image sizes that fit the network.

    In training a batch carries ``stream``, one name a sample (``'sup'``, ``'unsup'``, ...), and
    comes back as ``inputs={name: (B_name, 3, H, W)}`` and ``data_samples={name: [...]}``. A batch
    without ``stream`` comes back as mmseg returns it.

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
        ValueError: A padding other than 255; a ``size`` off the grid; ``grid`` with ``test_cfg``.
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
            note = ' (crop_size of the pipelines, too)'
            self.grid.check(size, 'data_preprocessor.size', note)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Batch of the dataloader → ``inputs`` and ``data_samples``, by stream in training."""
        names = data.get('stream')
        if not training or names is None:
            return self._stack(data, training)
        streams = {}
        for name in sorted(set(names)):
            members = [i for i, stream in enumerate(names) if stream == name]
            part = {key: [data[key][i] for i in members] for key in ('inputs', 'data_samples')}
            streams[name] = self._stack(part, training)
        return {
            key: {name: part[key] for name, part in streams.items()}
            for key in ('inputs', 'data_samples')
        }

    @record_function('semi/views')
    def strong_view(self, images: Tensor, view: nn.Module | None) -> Tensor:
        """Normalized images (B, 3, H, W) through a view part; None leaves them as they are."""
        if view is None:
            return images
        pixels, rgb = self.unit_range(images), swaps_channels(self)
        changed = view(pixels) if rgb else view(pixels.flip(1)).flip(1)  # mmseg loads BGR
        changed = changed * 255
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
        images, samples = stacked['inputs'], stacked['data_samples']
        if not training and self.grid is not None and samples is not None:
            height, width = images.shape[2:]
            padding = (0, self.grid.fit(width) - width, 0, self.grid.fit(height) - height)
            images = F.pad(images, padding, value=self.pad_val)
            for sample in samples:  # mmseg cuts the padding off by what they say
                sample.set_metainfo(
                    dict(img_padding_size=padding, pad_shape=tuple(images.shape[2:]))
                )
        stacked['inputs'] = images.contiguous(memory_format=self.memory_format)
        return stacked
