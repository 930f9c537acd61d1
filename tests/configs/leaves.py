"""The shipped configs, shared by the tests of this folder."""

import copy
import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(path for path in ROOT.glob('*/*.py') if path.parent.name != '_base_')
each_leaf = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)

FAMILIES = ('u2pl', 'cps')
SPLITS = {  # data set -> split -> labeled images
    'synthetic': {},
    'camvid': {'1_32': 11, '1_16': 23, '1_8': 46, '1_4': 92, '1_2': 184},
    'facade': {'1_32': 17, '1_16': 34, '1_8': 69, '1_4': 138},
    'voc12': {
        **{f'classic-{n}': n for n in (92, 183, 366, 732, 1464)},
        **{
            f'blender-{family}-{ratio}-{n}': n
            for family in FAMILIES
            for ratio, n in (('1_16', 662), ('1_8', 1323), ('1_4', 2646), ('1_2', 5291))
        },
    },
    'cityscapes': {
        f'{family}-{ratio}-{n}': n
        for family in FAMILIES
        for ratio, n in (('1_16', 186), ('1_8', 372), ('1_4', 744), ('1_2', 1488))
    },
}
POOL = {'camvid': 367, 'facade': 550, 'voc12': 10_582, 'cityscapes': 2975}  # training images


def name_parts(path: Path) -> tuple[str, str, str, tuple[int, int]]:
    """Method, network, data set and crop (height, width) of a config's name."""
    found = re.fullmatch(r'([a-z0-9-]+)_([a-z0-9-]+)_([a-z0-9]+)-(\d+)x(\d+)', path.stem)
    assert found, path.stem
    return found[1], found[2], found[3], (int(found[4]), int(found[5]))


def of_data(*names: str) -> list[Path]:
    """The leaves of these data sets."""
    return [path for path in LEAVES if name_parts(path)[2] in names]


@contextmanager
def chosen(split: str | None) -> Iterator[None]:
    """``SPLIT=split`` in the environment; None: the default of the config."""
    before = os.environ.pop('SPLIT', None)
    if split is not None:
        os.environ['SPLIT'] = split
    try:
        yield
    finally:
        os.environ.pop('SPLIT', None)
        if before is not None:
            os.environ['SPLIT'] = before


def load(path: Path, split: str | None = None) -> Config:
    """A config with one of its splits; the caller may change it."""
    return copy.deepcopy(_load(path, split))


@functools.cache
def _load(path: Path, split: str | None) -> Config:
    with chosen(split):
        return Config.fromfile(path)
