"""Fixtures: a tiny data set on disk. Tiny networks and batches are built by ``tiny.py``."""

import logging
import os
import re
import runpy
import shutil
import sys
import warnings

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['HF_HUB_OFFLINE'] = '1'  # no test asks the Hugging Face Hub

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import processes
import pytest
import tiny
import torch
from hypothesis import settings
from mmengine.logging import MMLogger

from mmseg_u2pl.functional import box_masks
from mmseg_u2pl.models import CutMix

processes.start()
settings.register_profile('suite', max_examples=20, deadline=None, derandomize=True)
settings.register_profile('soak', max_examples=2000, deadline=None)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'suite'))

NAMES = dict(
    labeled=[f'l{i}' for i in range(4)],
    unlabeled=[f'u{i}' for i in range(6)],
    val=[f'v{i}' for i in range(3)],
)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A 40×48 BGR image of 8×8 blocks whose color tells the class, and its mask."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 3, (5, 6)).astype(np.uint8)
    mask = blocks.repeat(8, 0).repeat(8, 1)
    colors = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]])
    noise = rng.integers(-30, 30, (*mask.shape, 3))
    return (colors[mask] + noise).clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope='session')
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, 40×48. Only the labeled and the validation images have masks.

    images/train/{l0...l3, u0...u5}.png, masks/train/{l0...l3}.png, images/val, masks/val;
    labeled.txt and unlabeled.txt list the stems. Read only: a test that changes it copies it.
    """
    root = tmp_path_factory.mktemp('data')
    for folder in ('images/train', 'images/val', 'masks/train', 'masks/val'):
        (root / folder).mkdir(parents=True)
    for part, names in NAMES.items():
        split = 'val' if part == 'val' else 'train'
        for name in names:
            image, mask = scene(sum(name.encode()))
            cv2.imwrite(str(root / 'images' / split / f'{name}.png'), image)
            if part != 'unlabeled':
                mask[:2, :2] = 255
                cv2.imwrite(str(root / 'masks' / split / f'{name}.png'), mask)
    for part in ('labeled', 'unlabeled'):
        (root / f'{part}.txt').write_text('\n'.join(NAMES[part]) + '\n')
    return root


@pytest.fixture
def own_root(tmp_path: Path, data_root: Path) -> Path:
    """A copy of ``data_root`` that a test may spoil."""
    shutil.copytree(data_root, tmp_path / 'data')
    return tmp_path / 'data'


@pytest.fixture
def masked_root(own_root):
    """The tiny data set, with the unlabeled images' masks in a folder that training never sees."""
    (own_root / 'truth').mkdir()
    for name in NAMES['unlabeled']:
        _, mask = scene(sum(name.encode()))
        mask[:3] = 255
        cv2.imwrite(str(own_root / 'truth' / f'{name}.png'), mask)
    return own_root


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Every step of CutMix mixes with the same boxes."""
    monkeypatch.setattr(CutMix, 'masks', lambda *_: box_masks(tiny.BOXES, *tiny.CROP))
    return tiny.BOXES


@pytest.fixture(scope='session')
def run_tool() -> Callable[..., None]:
    """Run a file of ``tools/`` in this process, in a wide terminal: name, words of the command."""

    def run(name: str, *words: object) -> None:
        path = Path(__file__).parents[1] / 'tools' / name
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():  # tools silence some
            patch.setattr(sys, 'argv', [str(path), *map(str, words)])
            patch.setenv('COLUMNS', '200')
            try:
                runpy.run_path(str(path), run_name='__main__')
            finally:
                logging.disable(logging.NOTSET)  # some are quiet

    return run


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Tools that run in this process choose data by variables; no later test sees them."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def loggers_outlive_a_test() -> Iterator[None]:
    """mmengine's loggers keep the stream that pytest closes after the test that made them."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.stream = sys.__stderr__  # setStream would flush what is closed


@pytest.fixture(autouse=True)
def fixed_randomness() -> None:
    """No test depends on those before it."""
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def pool() -> Iterator[ProcessPoolExecutor]:
    """Three processes, started once for all tests that need several."""
    context = get_context('spawn')
    with ProcessPoolExecutor(processes.MOST, context, initializer=processes.start) as pool:
        wait([pool.submit(abs, 0) for _ in range(processes.MOST)])  # all start now, side by side
        yield pool


@pytest.fixture
def together(pool: ProcessPoolExecutor, tmp_path: Path) -> Callable[..., list]:
    """Do ``work(rank, *arguments)`` in some processes at once; the results by rank."""
    runs = iter(range(1000))

    def run(world_size, work, *arguments):
        rendezvous = f'file://{tmp_path}/rendezvous{next(runs)}'
        parts = [
            pool.submit(processes.join, rank, world_size, rendezvous, work, arguments)
            for rank in range(world_size)
        ]
        for part in wait(parts, return_when=FIRST_EXCEPTION).done:
            part.result()  # what went wrong first, not who waited for it
        return [part.result() for part in parts]

    return run


@pytest.fixture
def refuses(capsys):
    """A context in which a tool ends with exit code 2 and one line on standard error."""

    @contextmanager
    def context(says):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            yield
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(says, line), line

    return context
