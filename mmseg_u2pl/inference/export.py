"""Export one network of a method: for plain mmseg, and as a graph that needs no mmseg."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from prettytable import PrettyTable, TableStyle
from torch import Tensor, nn

from ..models.data_preprocessor import Grid
from ..version import __version__
from .graphs import WRITERS, PixelsToLogits, Run
from .plain_config import plain_config

PARTS = ('backbone', 'neck', 'decode_head')
FORMATS = ('mmseg', 'safetensors', *WRITERS)
FILES = ('config.py', 'model.pth', 'model.safetensors', *(name for name, _ in WRITERS.values()))


class Source(NamedTuple):
    """A network of a checkpoint, and what is known of it."""

    model: nn.Module
    """The segmentor, whose predictor the network is."""
    predictor: str
    config: Config
    """Of plain mmseg, for :attr:`network`."""
    network: nn.Module
    """The same weights as mmseg's ``EncoderDecoder``."""
    meta: dict[str, Any]
    """``dataset_meta`` and, if known, ``protocol``, ``iter`` and ``metrics``."""
    needs: list[str]
    """Modules outside of mmseg that the config imports."""
    grid: Grid


def read_source(
    model: Any, cfg: Config, dataset_meta: dict[str, Any], meta: dict[str, Any]
) -> Source:
    """The network that a segmentor predicts with, as mmseg's ``EncoderDecoder``.

    Args:
        model: With its weights, and ``model.predictor`` as wanted.
        cfg: The config that it was trained with.
        dataset_meta: ``classes`` and ``palette``.
        meta: Of the checkpoint.

    Raises:
        ValueError: The prediction is the mean of several networks.
    """
    predictor = getattr(model, 'predictor', 'student')
    found: Sequence[Any] = model.predicting() if hasattr(model, 'predicting') else (model,)
    if len(found) > 1:
        others = [f'--predictor {name}' for name in model.predictors if name != predictor]
        raise ValueError(
            f'{predictor!r} is the mean of {len(found)} networks and cannot be exported as one: '
            f'{" or ".join(others)}'
        )
    parts = {name: getattr(found[0], name) for name in PARTS if hasattr(found[0], name)}
    grid = getattr(model.data_preprocessor, 'grid', None) or Grid(1)
    needs = set()
    for part in parts.values():
        package = type(part).__module__
        if not package.startswith(('mmseg.', 'mmcv.')):
            needs.add('mmseg_u2pl' if package.startswith('mmseg_u2pl.') else package)
    config = plain_config(cfg, parts, grid, dataset_meta, sorted(needs))
    network = MODELS.build(copy.deepcopy(config.model))
    for name, part in parts.items():
        getattr(network, name).load_state_dict(part.state_dict())
    known = {key: meta[key] for key in ('protocol', 'iter', 'metrics') if meta.get(key)}
    known['dataset_meta'] = dict(dataset_meta)
    return Source(model.eval(), predictor, config, network.eval(), known, sorted(needs), grid)


class Compared(NamedTuple):
    """An export beside its source, on images of one size."""

    format: str
    file: str
    size: tuple[int, int]
    difference: float
    """The largest of logits."""
    equal: float
    """Share of pixels with equal labels."""
    fixed: bool
    """Whether the graph takes images of this size alone."""


def export(
    source: Source, folder: Path, formats: Sequence[str], images: Sequence[Tensor]
) -> list[Compared]:
    """Write a network in each format and compare what is read back with the source.

    Args:
        source: As :func:`read_source` returns it.
        folder: Where the files go.
        formats: Of :data:`FORMATS`.
        images: RGB (3, H, W), uint8, of two sizes at least.
    """
    folder.mkdir(parents=True, exist_ok=True)
    on_grid = images
    if source.grid.offset:  # plain mmseg cannot pad to it
        on_grid = [resized(image, *map(source.grid.fit, image.shape[1:])) for image in images]
    height, width = images[0].shape[1:]
    size = source.grid.fit(height), source.grid.fit(width)
    module = PixelsToLogits(source.network, source.grid).eval()
    compared = []
    for name in formats:
        fixed, mode, shown = None, None, on_grid
        if name == 'mmseg':
            path, run = folder / 'model.pth', _write_mmseg(source, folder)
        elif name == 'safetensors':
            path = folder / 'model.safetensors'
            run = _write_safetensors(source, path)
        else:
            file, write = WRITERS[name]
            path, mode, shown = folder / file, 'whole', images
            run, fixed = write(module, size, path)
        for image in [resized(images[0], *fixed)] if fixed else shown:
            expected = predict(source.model, image, mode)
            with torch.no_grad():
                found = run(image[None])[0]
            difference = (expected - found).abs().max().item()
            equal = (expected.argmax(0) == found.argmax(0)).double().mean().item()
            shape = image.shape[1], image.shape[2]
            each = Compared(name, path.name, shape, difference, equal, fixed is not None)
            compared.append(each)
    return compared


def table(compared: Sequence[Compared]) -> str:
    """The comparison in Markdown."""
    rows = PrettyTable(['file', 'image', 'largest difference of logits', 'equal labels'])
    rows.set_style(TableStyle.MARKDOWN)
    rows.align = 'r'
    rows.align['file'] = 'l'
    for each in compared:
        size = '{}×{}'.format(*each.size) + (' (this size only)' if each.fixed else '')
        rows.add_row([each.file, size, f'{each.difference:.1e}', f'{each.equal:.4%}'])
    return rows.get_string()


def predict(model: Any, image: Tensor, mode: str | None = None) -> Tensor:
    """Logits (C, H, W) of an RGB image (3, H, W), uint8, as mmseg's tools compute them.

    Args:
        model: A segmentor.
        image: Not batched.
        mode: ``'whole'``: without sliding windows; None: as the config says.
    """
    size = tuple(image.shape[1:])
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    before = model.test_cfg
    model.test_cfg = ConfigDict(before or {}, **(dict(mode=mode) if mode else {}))
    try:
        with torch.no_grad():
            (found,) = model.test_step(dict(inputs=[image.flip(0)], data_samples=[sample]))
    finally:
        model.test_cfg = before
    return found.seg_logits.data


def resized(image: Tensor, height: int, width: int) -> Tensor:
    """An image (3, H, W), uint8, of another size."""
    return F.interpolate(image[None].float(), (height, width), mode='bilinear')[0].byte()


def _write_mmseg(source: Source, folder: Path) -> Run:
    """``config.py`` and ``model.pth``."""
    source.config.dump(folder / 'config.py')
    meta = dict(source.meta, cfg=source.config.pretty_text, mmseg_u2pl_version=__version__)
    torch.save(dict(state_dict=source.network.state_dict(), meta=meta), folder / 'model.pth')
    model = MODELS.build(Config.fromfile(folder / 'config.py').model)
    state = torch.load(folder / 'model.pth', weights_only=True)['state_dict']
    model.load_state_dict(state)
    return lambda images: predict(model.eval(), images[0])[None]


def _write_safetensors(source: Source, path: Path) -> Run:
    """The weights alone, named as in ``model.pth``; classes and versions are text in it."""
    from safetensors.torch import load_file, save_file

    text = {key: json.dumps(value) for key, value in source.meta.items()}
    text.update(mmseg_u2pl_version=__version__, torch_version=torch.__version__)
    weights = {name: value.contiguous() for name, value in source.network.state_dict().items()}
    save_file(weights, path, text)
    model = MODELS.build(copy.deepcopy(source.config.model))
    model.load_state_dict(load_file(path))
    return lambda images: predict(model.eval(), images[0])[None]
