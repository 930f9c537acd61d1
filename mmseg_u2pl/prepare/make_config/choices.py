"""Choose the settings of a config from what was measured of a folder, each with its reason."""

from __future__ import annotations

import math
import os
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config

from ...models.data_preprocessor import Grid
from .masks import OwnMasks
from .methods import BASES, DEFAULT, Method
from .pace import Pace
from .reading import Images, measure_normalization

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
    'deeplabv3plus_r101-d8_u2plhead_aux-ohem': ('sgd_poly_cityscapes', 16),
}


class Choice(NamedTuple):
    """A setting, its value, and why."""

    setting: str
    value: Any
    why: str

    @property
    def text(self) -> str:
        """The value for people."""
        if isinstance(self.value, tuple):
            return ' × '.join(map(str, self.value))
        return f'{self.value:g}' if isinstance(self.value, float) else str(self.value)


ASKED = 'you asked for it'


def choose_network(images: Images, asked: str | None) -> Choice:
    """The small network on a CPU and for small images, else the paper's."""
    if asked:
        return Choice('network', asked, ASKED)
    where = 'with a GPU' if torch.cuda.is_available() else 'without a GPU'
    if torch.cuda.is_available() and np.median(images.sizes.max(1)) >= 500:
        network, why = 'deeplabv3plus_r101-d8_u2plhead', 'images at least as large as VOC’s'
    else:
        network, why = 'fpn_efficientnet-lite0', 'small and measured'
    return Choice('network', network, f'{why}, {where}')


def network_config(network: str) -> Any:
    """The model of a file in ``_base_/models``."""
    return Config.fromfile(BASES / f'models/{network}.py').model


def model_config(network: str, method: Method, classes: int) -> tuple[dict, tuple[int, int]]:
    """A model to measure, and its crop: the smallest of 192 pixels or more on its grid."""
    model = network_config(network)
    crop = (Grid(**model.data_preprocessor.grid).fit(192),) * 2
    for head in {'decode_head', 'auxiliary_head'} & set(model):
        model[head].num_classes = classes
    model.data_preprocessor.size = crop
    return {**model, **method.settings(1, crop)}, crop


def choose(
    images: Images,
    masks: OwnMasks,
    sizes: dict[str, int],
    method: Method,
    network: Choice,
    request: Namespace,
    pace: Pace,
) -> dict[str, Choice]:
    """Every choice by its setting's name, in the order to show them.

    Args:
        images: All of the folder.
        masks: What kind they are.
        sizes: Number of ``labeled`` and ``unlabeled`` images.
        method: That trains.
        network: As :func:`choose_network` chooses it.
        request: ``iters``, ``scale`` (short side), ``crop`` (height, width) and ``minutes``; None:
            choose.
        pace: Of this method and network on this machine.

    Raises:
        ValueError: A semi-supervised method without unlabeled images; a request out of range.
    """
    if method.model and not sizes['unlabeled']:
        raise ValueError(
            f'{method.name} needs unlabeled images, but every image has a mask or is held out: '
            'give --unlabeled DIR, or --method supervised'
        )
    for flag, value in (('iters', request.iters), ('scale', request.scale)):
        if value is not None and value < 1:
            raise ValueError(f'--{flag} {value}: give at least 1')
    grid = Grid(**network_config(network.value).data_preprocessor.grid)
    total = _iterations(sizes, method, request.iters)
    scale = _scale(images, grid, total.value, request, pace)
    crop = _crop(images, grid, scale.value[1], request.crop)
    schedule, meant = NETWORKS[network.value]
    lr = Config.fromfile(BASES / f'schedules/{schedule}.py').optim_wrapper.optimizer.lr
    scaled = '' if meant == PER_STEP else f', {lr:g} × {PER_STEP}/{meant} labeled images a step'
    choices = [
        Choice('method', method.name, 'the default' if method.name == DEFAULT else ASKED),
        network,
        Choice('masks', masks.kind, _mask_reason(masks)),
        scale,
        crop,
        _normalization(images),
        Choice('batch', f'{PER_STEP} + {PER_STEP * method.group}', 'labeled + unlabeled a step'),
        total,
    ]
    if method.ramp:
        why = 'a quarter of the iterations, as measured'
        choices.append(Choice('warm-up', total.value // 4, why))
    minutes = pace.minutes(crop.value, total.value)
    return {
        choice.setting: choice
        for choice in (
            *choices,
            Choice('learning rate', lr * PER_STEP / meant, f'of {schedule}{scaled}'),
            Choice('workers', min(4, os.cpu_count() or 1), f'{os.cpu_count()} cores, at most 4'),
            Choice('time', f'about {_duration(minutes)}', 'a few steps measured on this machine'),
        )
    }


def _duration(minutes: float) -> str:
    return f'{max(1, round(minutes))} minutes' if minutes < 120 else f'{minutes / 60:.1f} hours'


def _mask_reason(masks: OwnMasks) -> str:
    if masks.kind == 'RGB':
        return 'each color is a class, as --colors says'
    if masks.kind == 'grey values':
        pairs = ', '.join(
            f'{value} → {"ignore" if label == 255 else label}'
            for value, label in masks.loading['values']
        )
        return f'{pairs}: --values says so, or they hold 0 and 255 alone'
    return 'every value is a class number, or 255 = ignore'


def _scale(images: Images, grid: Grid, iterations: int, request: Namespace, pace: Pace) -> Choice:
    """Longest and shortest side; the shortest decides, as the longest has room for every image."""
    full = int(np.median(images.sizes.min(1)))
    what = f'short side of {full} (median)'
    if request.scale:
        side, why = request.scale, ASKED
    elif torch.cuda.is_available() and request.minutes is None:
        side = min(full, GPU_SHORT_SIDE)
        why = what + (f' reduced to {side}, which VOC’s crop fits' if side < full else '')
    else:
        budget = request.minutes or CPU_MINUTES
        sides = [*range(32 * max(1, min(full, 96) // 32), full, 32), full]
        crops = [request.crop or _crop(images, grid, s, None).value for s in sides]
        fits = [
            s
            for s, crop in zip(sides, crops, strict=True)
            if pace.minutes(crop, iterations) <= budget
        ]
        side = max(fits, default=sides[0])
        why = f'{what}; the largest that trains in {budget:g} minutes (--minutes)'
        if not fits:
            why = f'{what}; too slow for {budget:g} minutes (--minutes), fewer --iters would help'
    elongation = float((images.sizes.max(1) / images.sizes.min(1)).max())
    return Choice('input scale', (math.ceil(side * elongation), side), why)


def _crop(images: Images, grid: Grid, side: int, asked: Sequence[int] | None) -> Choice:
    """(height, width): four fifths of the typical image at input scale, on the network's grid."""
    step = f'{grid.stride}' + (f', and {grid.offset}' if grid.offset else '')
    if asked:
        wrong = next((length for length in asked if not grid.holds(length)), None)
        if wrong is not None:
            raise ValueError(
                f'--crop {asked[0]} {asked[1]}: {wrong} is not on the grid of the network (steps '
                f'of {step}): give {grid.nearest(wrong)}'
            )
        return Choice('crop', tuple(asked), ASKED)
    sizes = images.sizes * (side / images.sizes.min(1, keepdims=True))  # at input scale
    width, height = np.median(sizes, axis=0)
    least = min(width, height)

    def length(full: float) -> int:
        wanted = min(full * CROP_SHARE, least * CROP_SHARE * LONGEST_CROP) - grid.offset
        steps = math.floor(wanted / grid.stride + 0.5)
        most = math.floor((full - grid.offset) / grid.stride)
        return max(1, min(steps, most)) * grid.stride + grid.offset

    crop = (length(height), length(width))
    why = f'height × width: 4/5 of the input in steps of {step}, at most 4:3'
    return Choice('crop', crop, why + ('; padded' if min(crop) > least else ''))


def _normalization(images: Images) -> Choice:
    """The network's, or (mean, std) of RGB where that does not fit."""
    if not images.deep:
        kinds = ', '.join(f'{number} {mode}' for mode, number in sorted(images.modes.items()))
        return Choice('normalization', 'of the network', f'8-bit images ({kinds})')
    mean, std = measure_normalization(list(images.paths.values()))
    why = '16-bit images are loaded by their upper 8 bits: measured mean and standard deviation'
    return Choice('normalization', (mean.tolist(), std.tolist()), why)


def _iterations(sizes: dict[str, int], method: Method, asked: int | None) -> Choice:
    """From the steps that see each labeled, and each unlabeled image once."""
    if asked is not None:
        return Choice('iterations', asked, ASKED)
    needs = {
        'as measured, and no fewer': float(LEAST_ITERS),
        f'each labeled image {LABELED_EPOCHS} times': LABELED_EPOCHS * sizes['labeled'] / PER_STEP,
    }
    if method.model:
        epochs = UNLABELED_EPOCHS / (3 / 4 if method.ramp else 1)
        steps = sizes['unlabeled'] / (PER_STEP * method.group)
        needs[f'each unlabeled image {UNLABELED_EPOCHS} times, warm-up apart'] = epochs * steps
    why = max(needs, key=lambda key: needs[key])
    return Choice('iterations', math.ceil(needs[why] / 100) * 100, why)
