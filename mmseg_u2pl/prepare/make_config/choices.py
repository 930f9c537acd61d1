"""Choose the settings of a config from what was measured of a folder, each with its reason."""

import math
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config

from ...cli import cores
from ...models.data_preprocessor import Grid
from .methods import BASES, DEFAULT, Method
from .reading import Images, OwnMasks, measure_normalization

# What docs/results.md measured, which the rules below carry over to other numbers of images.
PER_STEP = 4  # labeled images
LEAST_ITERS = 1200
LABELED_EPOCHS = 9  # 800 iterations over 367 masks still gained on 600
UNLABELED_EPOCHS = 7  # after the warm-up: 900 iterations over 516 images
GPU_SHORT_SIDE = 640  # crops as large as VOC's 513
CROP_SHARE = 4 / 5  # 160×192 of 180×240
LONGEST_CROP = 4 / 3  # of the crop's short side
CPU_MINUTES = 60

# Networks, the schedule of each, and the labeled images a step its learning rate is meant for.
NETWORKS = {
    'fpn_efficientnet-lite0': ('adamw_poly', 4),
    'deeplabv3plus_r101-d8_u2plhead': ('sgd_poly_voc', 16),
}
ASKED = 'you asked for it'


class Choice(NamedTuple):
    """The value of a setting, and why."""

    value: Any
    why: str


def choose_network(images: Images, asked: str | None) -> Choice:
    """The small network on a CPU and for small images, else the paper's."""
    if asked:
        return Choice(asked, ASKED)
    if not torch.cuda.is_available():
        return Choice('fpn_efficientnet-lite0', 'small and measured, without a GPU')
    if np.median(images.sizes.max(1)) < 500:
        return Choice('fpn_efficientnet-lite0', 'small and measured, images smaller than VOC’s')
    return Choice('deeplabv3plus_r101-d8_u2plhead', 'with a GPU, images as large as VOC’s')


def choose(
    images: Images,
    masks: OwnMasks,
    sizes: dict[str, int],
    method: Method,
    network: Choice,
    request: Namespace,
    pace: float,
) -> dict[str, Choice]:
    """Every choice by its setting's name, in the order to show them.

    ``sizes`` are numbers of images by list; ``request`` has ``iters``, ``scale`` (short side),
    ``crop`` (height, width) and ``minutes``, None where to choose; ``pace`` is in seconds of a step
    for each pixel of a crop.

    Raises:
        ValueError: A semi-supervised method without unlabeled images; a request out of range.
    """
    if method.model and not sizes['unlabeled']:
        remedy = 'give --unlabeled DIR, or --method supervised'
        raise ValueError(f'{method.name} needs unlabeled images, but there are none: {remedy}')
    for flag in ('iters', 'scale'):
        value = getattr(request, flag)
        if value is not None and value < 1:
            raise ValueError(f'--{flag} {value}: give at least 1')
    model = Config.fromfile(BASES / f'models/{network.value}.py').model
    grid = Grid(**model.data_preprocessor.grid)
    total = _iterations(sizes, method, request.iters)
    scale = _scale(images, grid, total.value, request, pace)
    crop = _crop(images, grid, scale.value[1], request.crop)
    normalization = Choice('of the network', '8-bit images')
    if images.deep:
        measured = measure_normalization(list(images.paths.values()))
        normalization = Choice(measured, 'measured: 16-bit images are loaded by their upper 8 bits')
    schedule, meant = NETWORKS[network.value]
    lr = Config.fromfile(BASES / f'schedules/{schedule}.py').optim_wrapper.optimizer.lr
    scaled = '' if meant == PER_STEP else f', {lr:g} × {PER_STEP}/{meant} labeled images a step'
    minutes = max(1, round(pace * math.prod(crop.value) * total.value / 60))
    batch = f'{PER_STEP} + {PER_STEP * method.group}'
    warmup = Choice(total.value // 4, 'a quarter of the iterations, as measured')
    return {
        'method': Choice(method.name, 'the default' if method.name == DEFAULT else ASKED),
        'network': network,
        'masks': Choice(masks.kind, masks.why),
        'input scale': scale,
        'crop': crop,
        'normalization': normalization,
        'batch': Choice(batch, 'labeled + unlabeled a step'),
        'iterations': total,
        **({'warm-up': warmup} if method.ramp else {}),
        'learning rate': Choice(lr * PER_STEP / meant, f'of {schedule}{scaled}'),
        'workers': Choice(min(4, cores()), f'{cores()} cores, at most 4'),
        'time': Choice(f'about {minutes} min', 'a few steps measured on this machine'),
    }


def _scale(images: Images, grid: Grid, iterations: int, request: Namespace, pace: float) -> Choice:
    """Longest and shortest side; the shortest decides, as the longest has room for every image."""
    full = int(np.median(images.sizes.min(1)))
    budget = request.minutes or CPU_MINUTES
    if request.scale:
        side, why = request.scale, ASKED
    elif torch.cuda.is_available() and request.minutes is None:
        side = min(full, GPU_SHORT_SIDE)
        why = f'short side of {full} (median), at most {GPU_SHORT_SIDE}, which VOC’s crop fits'
    else:
        sides = [*range(32 * max(1, min(full, 96) // 32), full, 32), full]
        crops = {side: request.crop or _crop(images, grid, side, None).value for side in sides}
        seconds = 60 * budget / iterations  # of a step
        fits = [side for side in sides if pace * math.prod(crops[side]) <= seconds]
        side = max(fits, default=sides[0])
        limit = f'{budget:g} minutes (--minutes)'
        why = f'short side of {full} (median); the largest that trains in {limit}'
        if not fits:
            why = f'too slow for {limit}, fewer --iters would help'
    elongation = float((images.sizes.max(1) / images.sizes.min(1)).max())
    return Choice((math.ceil(side * elongation), side), why)


def _crop(images: Images, grid: Grid, side: int, asked: Sequence[int] | None) -> Choice:
    """(height, width): four fifths of the typical image at input scale, on the network's grid."""
    if asked:
        grid.check(asked, '--crop')
        return Choice(tuple(asked), ASKED)
    sizes = images.sizes * (side / images.sizes.min(1, keepdims=True))  # at input scale
    width, height = np.median(sizes, axis=0)
    most = min(width, height) * CROP_SHARE * LONGEST_CROP
    crop = []
    for full in (height, width):
        wanted = math.floor((min(full * CROP_SHARE, most) - grid.offset) / grid.stride + 0.5)
        fitting = math.floor((full - grid.offset) / grid.stride)
        crop.append(max(1, min(wanted, fitting)) * grid.stride + grid.offset)
    why = 'height × width: 4/5 of the input on the network’s grid, at most 4:3'
    return Choice(tuple(crop), why)


def _iterations(sizes: dict[str, int], method: Method, asked: int | None) -> Choice:
    """From the steps that see each labeled, and each unlabeled image once."""
    if asked is not None:
        return Choice(asked, ASKED)
    needs = {
        'as measured, and no fewer': float(LEAST_ITERS),
        f'each labeled image {LABELED_EPOCHS} times': LABELED_EPOCHS * sizes['labeled'] / PER_STEP,
    }
    if method.model:
        epochs = UNLABELED_EPOCHS / (3 / 4 if method.ramp else 1)
        steps = sizes['unlabeled'] / (PER_STEP * method.group)
        needs[f'each unlabeled image {UNLABELED_EPOCHS} times, warm-up apart'] = epochs * steps
    why = max(needs, key=lambda key: needs[key])
    return Choice(math.ceil(needs[why] / 100) * 100, why)
