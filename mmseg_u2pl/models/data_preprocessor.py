"""Normalise and stack a batch whose samples belong to named streams."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS


@MODELS.register_module()
class SemiDataPreprocessor(SegDataPreProcessor):
    """mmseg's preprocessor, once a stream.

    In training a batch carries ``stream``, one name a sample (``'sup'``, ``'unsup'``, ...), and
    comes back as ``inputs={name: (B_name, 3, H, W)}`` and ``data_samples={name: [...]}``, in
    the order of the batch. Without ``stream`` (validation, test, inference, a plain labeled
    data set) it does exactly what mmseg's own does.

    Args:
        *args: As in mmseg's ``SegDataPreProcessor``.
        seg_pad_val: Must be 255, so that no pad is ever taken for class 0.
        channels_last: Lay images out channels-last. Convolutions keep that layout, which is
            faster for depthwise networks on CPUs and for half precision on GPUs
            (docs/results.md, "Speed").
        **kwargs: As in ``SegDataPreProcessor``.

    Raises:
        ValueError: ``seg_pad_val`` other than 255.
    """

    def __init__(
        self,
        *args: Any,
        seg_pad_val: int = 255,
        channels_last: bool = False,
        **kwargs: Any,
    ) -> None:
        if seg_pad_val != 255:
            raise ValueError(
                f'data_preprocessor.seg_pad_val={seg_pad_val}: pads of a crop must be 255 '
                '(ignored), otherwise they are learnt as a class'
            )
        super().__init__(*args, seg_pad_val=seg_pad_val, **kwargs)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Batch of the dataloader → ``inputs`` and ``data_samples``, by stream in training."""
        names = data.get('stream')
        if not training or names is None:
            return self._stack(data, training)
        inputs, data_samples = {}, {}
        for name in sorted(set(names)):
            members = [i for i, own in enumerate(names) if own == name]
            stream = {key: [data[key][i] for i in members] for key in ('inputs', 'data_samples')}
            stream = self._stack(stream, training)
            inputs[name], data_samples[name] = stream['inputs'], stream['data_samples']
        return dict(inputs=inputs, data_samples=data_samples)

    def _stack(self, data: dict[str, Any], training: bool) -> dict[str, Any]:
        """Mmseg's own preprocessing of one stream."""
        stacked = super().forward(data, training)
        stacked['inputs'] = stacked['inputs'].contiguous(memory_format=self.memory_format)
        return stacked
