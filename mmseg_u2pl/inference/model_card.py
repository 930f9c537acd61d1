"""The README.md of an exported network."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

NEEDS = {
    'EfficientNetLite': 'pip install mmseg-u2pl efficientnet-lite-pytorch',
    'HFBackbone': "pip install 'mmseg-u2pl[hf]'",
}
"""Backbones of this package with packages of their own."""
VERSIONS = ('mmseg-u2pl', 'torch', 'mmsegmentation', 'onedl-mmsegmentation', 'onnx', 'onnxruntime')


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
    model, pipeline = source.config.model, source.config.get('test_pipeline') or []
    parts = (model.backbone, model.get('neck'), model.decode_head)
    install = [NEEDS[part['type']] for part in parts if part and part['type'] in NEEDS]
    if 'mmseg_u2pl' in source.needs and not install:
        install = ['pip install mmseg-u2pl']
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(trim_blocks=True, lstrip_blocks=True, loader=loader)
    text = environment.get_template('model_card.md.j2').render(
        source=source,
        model=model.to_dict(),
        data=source.meta['dataset_meta'],
        formats=formats,
        table=table,
        fixed=fixed,
        install=install,
        size_divisor=(source.network.data_preprocessor.test_cfg or {}).get('size_divisor'),
        resizes=[f'`{dict(step)}`' for step in pipeline if step['type'].endswith('Resize')],
        versions=_versions(),
    )
    return text + '\n'


def _versions() -> list[str]:
    found = []
    for name in VERSIONS:
        try:
            found.append(f'{name} {version(name)}')
        except PackageNotFoundError:
            continue
    return found
