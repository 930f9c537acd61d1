"""Semi-supervised semantic segmentation as a plugin to MMSegmentation.

Importing it registers everything with mmseg's registries; configs do that by
``custom_imports=dict(imports=['mmseg_u2pl'])``.
"""

import contextlib
import importlib.util
import io
import warnings

from .version import __version__

_missing = [name for name in ('mmengine', 'mmcv', 'mmseg') if not importlib.util.find_spec(name)]
if _missing:
    raise ImportError(
        f'mmseg_u2pl extends MMSegmentation, but {", ".join(_missing)} cannot be imported. '
        'Install a host stack, torch first and pinned:\n'
        '  pip install torch==2.13.0\n'
        '  pip install "mmseg-u2pl[onedl]"       # maintained continuation (recommended), or\n'
        '  pip install "setuptools<81" wheel   # upstream mmsegmentation 1.2.2, with\n'
        '  pip install --no-build-isolation "mmseg-u2pl[openmmlab]"'
    )

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    # mmcv and mmseg name optional packages that are missing, which nothing here needs
    warnings.filterwarnings('ignore', message='Fail to import')
    from . import compat, datasets, engine, evaluation, models, registry
    from .inference.predict import predict

__all__ = ['__version__', 'predict']
