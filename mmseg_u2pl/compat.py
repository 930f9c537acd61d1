"""What differs between the host stacks: upstream OpenMMLab, and its continuation OneDL."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import mmseg
from mmengine.config import config as mmengine_config
from mmengine.config.utils import MODULE2PACKAGE
from mmseg.models.losses import cross_entropy_loss
from torch import Tensor


def package_folder(package: str) -> str:
    """The folder of a package; mmengine 0.10.7 looks for an editable install in site-packages."""
    return str(import_module(package).__path__[0])


# For ``_base_ = 'PACKAGE::PATH'``: names and folders of the import, right on both stacks
MODULE2PACKAGE.update(mmseg='mmseg', mmseg_u2pl='mmseg_u2pl')
mmengine_config.get_installed_path = package_folder


def type_name(settings: Mapping[str, Any]) -> Any:
    """The ``type`` of a config as a name, which in configs that are Python is the class; None: none."""
    kind = settings.get('type')
    return getattr(kind, '__name__', kind)


_cross_entropy = cross_entropy_loss.cross_entropy


def weighted_cross_entropy(
    pred: Tensor, label: Tensor, *args: Any, class_weight: Tensor | None = None, **settings: Any
) -> Tensor:
    """mmseg's, which divides by the weights of the labeled pixels; 1.2.2 also looks up that of 255."""
    mean = settings['reduction'] == 'mean' and settings['avg_factor'] is None
    if class_weight is not None and mean:
        labeled = label != settings['ignore_index']  # times, not picked: a GPU does not wait
        settings['avg_factor'] = (class_weight[label * labeled] * labeled).sum()
    return _cross_entropy(pred, label, *args, class_weight=class_weight, **settings)


if mmseg.__version__.startswith('1.2.'):
    cross_entropy_loss.cross_entropy = weighted_cross_entropy


def swaps_channels(preprocessor: Any) -> bool:
    """Whether the preprocessor turns mmseg's BGR images into RGB; OneDL's and upstream's name of it."""
    names = ('_channel_conversion', 'channel_conversion')
    return any(getattr(preprocessor, name, False) for name in names)


def config_path(name: str | Path) -> Path:
    """The file of a config: a path, or ``PACKAGE::PATH`` as in ``_base_``."""
    package, _, path = str(name).rpartition('::')
    return Path(package_folder(package), '.mim/configs', path) if package else Path(path)
