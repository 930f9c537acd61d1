"""The shipped configs, shared by the tests of this folder."""

import copy
import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2] / 'configs'
FILES = sorted(path for path in ROOT.glob('*/*.py') if path.parent.name != '_base_')
SMALL = {  # data set of --data -> crop (height, width)
    'camvid': (160, 192),
    'facade': (160, 192),
    'voc_animals': (160, 160),
    'synthetic': (96, 128),
}


class Leaf(NamedTuple):
    """A config and the data set that it is read for."""

    path: Path
    method: str
    network: str
    data: str
    crop: tuple[int, int]

    @property
    def name(self) -> str:
        """As a test is called."""
        return self.path.stem + (f'-{self.data}' if self.data in SMALL else '')


def _leaves() -> Iterator[Leaf]:
    for path in FILES:
        found = re.fullmatch(r'([a-z0-9-]+)_([a-z0-9-]+)_([a-z0-9]+)(?:-(\d+)x(\d+))?', path.stem)
        assert found, path.stem
        if found[3] == 'small':
            yield from (Leaf(path, found[1], found[2], *item) for item in SMALL.items())
        else:
            yield Leaf(path, found[1], found[2], found[3], (int(found[4]), int(found[5])))


LEAVES = list(_leaves())
each_leaf = pytest.mark.parametrize('leaf', LEAVES, ids=lambda leaf: leaf.name)
each_file = pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)

FAMILIES = ('u2pl', 'cps')
SPLITS = {  # data set -> split -> labeled images
    'synthetic': {},
    'camvid': {'1_32': 11, '1_16': 23, '1_8': 46, '1_4': 92, '1_2': 184},
    'facade': {'1_32': 17, '1_16': 34, '1_8': 69, '1_4': 138},
    'voc_animals': {'voc_1_16': 27, 'voc_1_8': 54, 'voc_1_4': 109, 'voc_1_2': 218, 'voc_1_1': 437},
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
    'ade20k': {
        f'unimatch-1_{divisor}-{n}': n
        for divisor, n in ((64, 316), (32, 631), (16, 1263), (8, 2526))
    },
    'cocostuff164k': {
        f'unimatch-1_{divisor}-{n}': n
        for divisor, n in ((512, 232), (256, 463), (128, 925), (64, 1849), (32, 3697))
    },
}
POOL = {  # training images
    'camvid': 367, 'facade': 550, 'voc_animals': 2000, 'voc12': 10_582, 'cityscapes': 2975,
    'ade20k': 20_210, 'cocostuff164k': 118_287,
}  # fmt: skip


def of_data(*names: str) -> list[Leaf]:
    """The leaves of these data sets."""
    return [leaf for leaf in LEAVES if leaf.data in names]


@contextmanager
def chosen(split: str | None, data: str | None = None) -> Iterator[None]:
    """``SPLIT`` and ``SMALL_DATA`` in the environment; None: the default of the config."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (('SPLIT', split), ('SMALL_DATA', data), ('MAX_ITERS', None)):
            patch.delenv(name, raising=False)
            if value is not None:
                patch.setenv(name, value)
        yield


def load(leaf: Leaf | Path, split: str | None = None) -> Config:
    """A config with one of its splits; the caller may change it."""
    path, data = (leaf.path, leaf.data) if isinstance(leaf, Leaf) else (leaf, None)
    return copy.deepcopy(_load(path, split, data if data in SMALL else None))


@functools.cache
def _load(path: Path, split: str | None, data: str | None) -> Config:
    with chosen(split, data):
        return Config.fromfile(path)
