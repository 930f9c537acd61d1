"""A network as a graph that runs without mmseg: ONNX, TorchScript and torch.export."""

import logging
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.models.utils import Upsample, resize
from torch import Tensor, nn

from ..compat import swaps_channels
from ..models.data_preprocessor import Grid

Run: TypeAlias = Callable[[Tensor], Tensor]
"""A graph read back from its file: images (B, 3, H, W) → logits (B, C, H, W)."""
Written: TypeAlias = tuple[Run, tuple[int, int] | None]
"""And the height and width that it is bound to; None: any."""


class PixelsToLogits(nn.Module):
    """A network with its normalization, padding and resizing: plain pixels in, logits out.

    Args:
        network: mmseg's ``EncoderDecoder``; whole images go through it, without sliding windows.
        grid: To which images are padded at the right and bottom.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, grid: Grid) -> None:
        super().__init__()
        self.backbone, self.decode_head = network.backbone, network.decode_head
        self.neck = network.neck if network.with_neck else nn.Identity()
        self.grid = grid
        preprocessor = network.data_preprocessor
        self.flip = not swaps_channels(preprocessor)  # mmseg reads images as BGR
        self.pad_val = preprocessor.pad_val
        self.normalize = preprocessor._enable_normalize
        if self.normalize:
            self.register_buffer('mean', preprocessor.mean.clone())
            self.register_buffer('std', preprocessor.std.clone())

    def forward(self, pixels: Tensor) -> Tensor:
        """RGB images (B, 3, H, W), uint8 → logits (B, C, H, W), float32."""
        images = (pixels.flip(1) if self.flip else pixels).float()
        if self.normalize:
            images = (images - self.mean) / self.std
        height, width = images.shape[2:]
        padded = self.grid.stride > 1
        if padded:
            bottom, right = (
                (self.grid.offset - side) % self.grid.stride for side in (height, width)
            )
            images = F.pad(images, (0, right, 0, bottom), value=self.pad_val)
        logits = self.decode_head(self.neck(self.backbone(images)))
        logits = F.interpolate(
            logits, images.shape[2:], mode='bilinear', align_corners=self.decode_head.align_corners
        )
        # a slice would bind the graph to images that need padding, an index to a device
        return F.pad(logits, (0, -right, 0, -bottom)) if padded else logits


def write_pt2(module: PixelsToLogits, size: tuple[int, int], path: Path) -> Written:
    """A program of ``torch.export``, for ``torch.export.load``."""
    program, fixed = _program(module, size)
    torch.export.save(program, path)
    return torch.export.load(path).module(), fixed


def write_onnx(module: PixelsToLogits, size: tuple[int, int], path: Path) -> Written:
    """An ONNX model with the input ``pixels`` and the output ``logits``."""
    import onnxruntime

    program, fixed = _program(module, size)
    names = {} if fixed else {0: 'batch', 2: 'height', 3: 'width'}
    with _quiet():
        exported = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=['pixels'], output_names=['logits'],
            dynamic_shapes=(names,),
        )  # fmt: skip
    assert exported is not None
    for node in exported.model.graph:
        node.metadata_props.clear()  # where in the code it comes from
    exported.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda images: torch.from_numpy(session.run(None, {'pixels': images.numpy()})[0]), fixed


def write_torchscript(module: PixelsToLogits, size: tuple[int, int], path: Path) -> Written:
    """A trace, for ``torch.jit.load``."""
    fixed = None
    with torch.no_grad(), _sizes_of_tensors(module.grid), _quiet():
        traced = torch.jit.trace(module, _noise(module.grid, 2), check_trace=False)
        other = _noise(module.grid, 1, 224)
        try:
            follows = torch.allclose(traced(other), module(other), atol=1e-4)
        except RuntimeError:
            follows = False
        if not follows:
            fixed = size
            traced = torch.jit.trace(module, _noise_of(1, size), check_trace=False)
    whole = path.with_suffix('.part')
    traced.save(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, 'w') as target:
        for name in source.namelist():
            if not name.endswith('.debug_pkl'):  # paths of source files on this machine
                target.writestr(name, source.read(name))
    whole.unlink()
    return torch.jit.load(path), fixed


WRITERS = dict(
    onnx=('model.onnx', write_onnx),
    torchscript=('model.torchscript', write_torchscript),
    pt2=('model.pt2', write_pt2),
)
"""Name of the file, and what writes it and reads it back."""


def _program(
    module: PixelsToLogits, size: tuple[int, int]
) -> tuple[torch.export.ExportedProgram, tuple[int, int] | None]:
    """The exported program for any batch and size; where the network has no such, for one image."""
    dynamic = torch.export.Dim.DYNAMIC
    fixed = None
    with torch.no_grad(), _sizes_of_tensors(module.grid):
        try:
            program = torch.export.export(
                module,
                (_noise(module.grid, 2),),
                dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},),
            )
        except Exception as error:  # of many kinds
            print_log(f'the graph is bound to one size: {error}', level=logging.DEBUG)
            program, fixed = torch.export.export(module, (_noise_of(1, size),)), size
    for node in program.graph.nodes:
        node.meta.pop('stack_trace', None)  # paths of source files on this machine
    return program, fixed


def _noise(grid: Grid, batch: int, side: int = 128) -> Tensor:
    """Images whose sides differ and need padding; never those of a user, who gets the graph."""
    return _noise_of(batch, (grid.fit(side) + 3, grid.fit(side + 32) + 5))


def _noise_of(batch: int, size: tuple[int, int]) -> Tensor:
    return torch.randint(256, (batch, 3, *size), dtype=torch.uint8)


@contextmanager
def _sizes_of_tensors(grid: Grid) -> Iterator[None]:
    """``int()`` of sizes, which mmseg takes to resize, would bind a graph to them."""

    def upsample(self: Any, x: Tensor) -> Tensor:
        factor = None if self.size else self.scale_factor
        return F.interpolate(x, self.size, factor, self.mode, self.align_corners)

    def same_padding(self: Any, x: Tensor) -> Tensor:
        sides = zip(self.weight.shape[2:], self.stride, self.dilation, strict=True)
        high, wide = (max(d * (kernel - 1) + 1 - stride, 0) for kernel, stride, d in sides)
        x = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    without_warning = (*resize.__defaults__[:-1], False)
    with (
        patch.object(Upsample, 'forward', upsample),
        patch.object(resize, '__defaults__', without_warning),
        ExitStack() as stack,
    ):
        # EfficientNet's padding follows the size; on a grid, sides are multiples of the strides
        efficientnet = sys.modules.get('efficientnet_lite_pytorch.utils')
        if efficientnet is not None and grid.stride % 32 == 0 and not grid.offset:
            convolution = efficientnet.Conv2dDynamicSamePadding
            stack.enter_context(patch.object(convolution, 'forward', same_padding))
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks on torchvision and on constants of a trace."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
