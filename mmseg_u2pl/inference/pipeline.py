"""How images reach the network: a config's test pipeline without what reads masks."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError

_LABELS = ('LoadAnnotations', 'LoadMask', 'AddValidityMap')
_RESIZES = ('Resize', 'ResizeShortestEdge')


def check_whole(path: str) -> None:
    """Raise OSError for a file that is cut off, which OpenCV fills with gray."""
    try:
        with Image.open(path) as image:
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError):
        if not os.path.getsize(path):
            raise OSError('the file is empty') from None  # the others OpenCV may know


def prediction_pipeline(cfg: Any, scale: int | None, tta: bool) -> list[dict]:
    """The transforms of a config from files to the network's input, without masks."""
    pipeline = cfg.get('test_pipeline') or _pipeline_of_loader(cfg)
    if tta and scale is None and 'tta_pipeline' in cfg:
        return _without_labels(cfg.tta_pipeline)
    pipeline = _without_labels(pipeline)
    if scale is not None:
        pipeline = [step for step in pipeline if step['type'] not in _RESIZES]
        pipeline.insert(1, dict(type='Resize', scale=(scale * 4096, scale), keep_ratio=True))
    if tta:
        flips = [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)]
        views = dict(type='TestTimeAug', transforms=[flips, [pipeline[-1]]])
        pipeline = [*pipeline[:-1], views]
    return pipeline


def _pipeline_of_loader(cfg: Any) -> list[dict]:
    dataset = (cfg.get('test_dataloader') or {}).get('dataset', {})
    if not dataset.get('pipeline'):
        raise ValueError('the config has no test_pipeline: how images reach the network is unknown')
    return dataset['pipeline']


def _without_labels(pipeline: Sequence[dict]) -> list[dict]:
    """The transforms without those that load masks, in the views of ``TestTimeAug``, too."""
    kept = [copy.deepcopy(dict(step)) for step in pipeline if step['type'] not in _LABELS]
    for step in kept:
        if step['type'] == 'TestTimeAug':
            parts = map(_without_labels, step['transforms'])
            step['transforms'] = [part for part in parts if part]
    return kept
