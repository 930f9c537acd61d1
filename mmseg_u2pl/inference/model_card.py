"""The README.md of an exported network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ..version import __version__

NEEDS = {
    'EfficientNetLite': 'pip install mmseg-u2pl efficientnet-lite-pytorch',
    'HFBackbone': "pip install 'mmseg-u2pl[hf]'",
}
"""Backbones of this package with packages of their own."""
GRAPH = """\
`pixels`: RGB, uint8, (B, 3, H, W), 0 ... 255. Returned: logits, float32, (B, C, H, W). Normalization,
padding and resizing are in the graph. The class of a pixel is the argmax over C."""
LOADING = {
    'mmseg': """\
## mmseg

```python
from mmseg.apis import inference_model, init_model

model = init_model('config.py', 'model.pth', device='cpu')
mask = inference_model(model, 'image.jpg').pred_sem_seg.data[0]  # (H, W)
```

The training's `test_pipeline` (sizes of images) and sliding windows are in `config.py`; its
`test_dataloader` names folders to replace.""",
    'safetensors': """\
## safetensors

The weights alone, with the names of mmseg's `EncoderDecoder`.

```python
from safetensors.torch import load_file

model.load_state_dict(load_file('model.safetensors'))  # built from the model of config.py
```""",
    'onnx': """\
## ONNX

```python
import onnxruntime

session = onnxruntime.InferenceSession('model.onnx')
(logits,) = session.run(None, {'pixels': pixels})  # a numpy array
mask = logits.argmax(1)
```""",
    'torchscript': """\
## TorchScript

```python
import torch

mask = torch.jit.load('model.torchscript')(pixels).argmax(1)
```""",
    'pt2': """\
## torch.export

```python
import torch

mask = torch.export.load('model.pt2').module()(pixels).argmax(1)
```""",
}


def model_card(
    source: Any, formats: Sequence[str], table: str, fixed: dict[str, tuple[int, int]]
) -> str:
    """A model card in Markdown.

    Args:
        source: The ``Source`` that was exported.
        formats: What was written.
        table: The comparison with the source.
        fixed: Sizes, by format, of graphs that take one image of one size.
    """
    data, model = source.meta['dataset_meta'], source.config.model
    size = source.network.data_preprocessor.test_cfg or {}
    lines = [
        '# Model card',
        '',
        f'Semantic segmentation, {len(data["classes"])} classes: {model.backbone.type} and '
        f'{model.decode_head.type}, the {source.predictor} of a training with mmseg-u2pl.',
        '',
        f'- Labeled images: {source.meta.get("protocol", {}).get("name", "not known")}',
        f'- Iterations: {source.meta.get("iter", "not known")}',
        f'- Metrics: {source.meta.get("metrics", "not known; measure them on your test images")}',
        f'- Versions: {_versions()}',
    ]
    if source.needs:
        types = (
            part['type'] for part in (model.backbone, model.get('neck'), model.decode_head) if part
        )
        known = [NEEDS[name] for name in types if name in NEEDS]
        ours = 'pip install mmseg-u2pl' if 'mmseg_u2pl' in source.needs else ''
        install = f' (`{" ".join(known) or ours}`)' if known or ours else ''
        lines.append(
            f'- `config.py` needs more than mmseg: the modules {", ".join(source.needs)}{install}. '
            'ONNX, TorchScript and torch.export need none of them.'
        )
    if source.grid.offset:
        sizes = f'k·{source.grid.stride} + {source.grid.offset}'
        lines.append(
            f'- Sizes: give `config.py` images whose sides are {sizes}, such as '
            f'{source.grid.fit(500)}; plain mmseg cannot pad to it, and on other sizes predictions are '
            'displaced. The graphs pad by themselves.'
        )
    elif size.get('size_divisor'):
        lines.append(f'- Sizes: any; images are padded to multiples of {size["size_divisor"]}.')
    if (model.get('test_cfg') or {}).get('mode') == 'slide':
        lines.append('- The graphs take whole images; sliding windows are only in `config.py`.')
    lines += ['', '| class | name | color (RGB) |', '| ---: | --- | --- |']
    for index, name in enumerate(data['classes']):
        color = data['palette'][index] if index < len(data['palette']) else '-'
        lines.append(f'| {index} | {name} | {color} |')
    for name, loading in LOADING.items():
        if name in formats:
            lines += ['', loading]
            if name in fixed:
                height, width = fixed[name]
                lines += ['', f'This file takes one image of {height}×{width} pixels at a time.']
    if {'onnx', 'torchscript', 'pt2'} & set(formats):
        lines += ['', '## Input and output of the graphs', '', GRAPH]
    return '\n'.join([*lines, '', '## Compared with the trained network', '', table, ''])


def _versions() -> str:
    found = [f'mmseg-u2pl {__version__}', f'torch {torch.__version__}']
    for names in (('mmsegmentation', 'onedl-mmsegmentation'), ('onnx',), ('onnxruntime',)):
        for name in names:
            try:
                found.append(f'{name} {version(name)}')
            except PackageNotFoundError:
                continue
    return ', '.join(found)
