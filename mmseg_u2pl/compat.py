"""What differs between the host stacks: upstream OpenMMLab, and its continuation OneDL."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from mmengine.config.utils import MODULE2PACKAGE

# For ``_base_ = 'PACKAGE::PATH'``. The import name is found on both stacks, and in an editable install.
MODULE2PACKAGE.update(mmseg='mmseg', mmseg_u2pl='mmseg_u2pl')


def trust_checkpoints() -> None:
    """From now on a checkpoint of this process may hold more than data.

    OneDL's mmengine then loads it in the unsafe way; upstream's leaves that to torch, whose default
    since 2.6 is to refuse it. torch reads this variable where nothing else was asked for.
    """
    if 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ:  # torch takes only one of them
        os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'


def config_path(name: str | Path) -> Path:
    """The file of a config: a path, or ``PACKAGE::PATH`` as in ``_base_``."""
    package, _, path = str(name).rpartition('::')
    return Path(import_module(package).__path__[0], '.mim/configs', path) if package else Path(path)
