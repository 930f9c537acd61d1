"""Choose the settings of a config from what was measured of a folder, each with its reason."""

from __future__ import annotations

import colorsys
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config

from .reading import Images, OwnMasks, measure_normalization
from .recipes import BASES, METHODS, PER_STEP

# What docs/results.md measured, which the rules below carry over to other numbers of images.
LEAST_ITERS = 1200
WARMUP_SHARE = 1 / 4  # of the iterations
LABELED_EPOCHS = 9  # 800 iterations over 367 masks still gained on 600
UNLABELED_EPOCHS = 7  # after the warm-up: 900 iterations over 516 images
CPU_SHORT_SIDE, GPU_SHORT_SIDE = 180, 640  # CamVid's at half size; crops as large as VOC's 513
CROP_SHARE = 4 / 5  # 144x192 of 180x240
CROP_STEP = 16
LONGEST_CROP = 4 / 3  # of the crop's short side

# Networks, the schedule of each, and the labeled images a step its learning rate is meant for.
NETWORKS = {
    'fpn_efficientnet-lite0': ('adamw_poly_600', 4),
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


def choose(
    images: Images,
    masks: OwnMasks,
    num_labeled: int,
    num_unlabeled: int,
    *,
    method: str = 'u2pl_balanced',
    network: str | None = None,
    iterations: int | None = None,
    gpu: bool = False,
) -> dict[str, Choice]:
    """Every choice by its setting's name, in the order to show them.

    Args:
        images: All of the folder.
        masks: What kind they are.
        num_labeled: Images to train on with their mask.
        num_unlabeled: Images to train on without.
        method: One of :data:`.recipes.METHODS`.
        network: One of :data:`NETWORKS`.
        iterations: Instead of what the numbers of images call for.
        gpu: Whether there is one.

    Raises:
        ValueError: A semi-supervised method without unlabeled images; bad ``iterations``.
    """
    recipe = METHODS[method]
    if recipe.unlabeled and not num_unlabeled:
        raise ValueError(
            f'{method} needs unlabeled images, but every image has a mask or is held out: '
            'give --unlabeled DIR, or --method supervised_balanced'
        )
    if iterations is not None and iterations < 1:
        raise ValueError(f'--iters {iterations}: give at least 1')
    where = 'a GPU is there' if gpu else 'no GPU is there'
    asked = 'you asked for it'
    short, long = np.median(np.sort(images.sizes, axis=1), axis=0).astype(int).tolist()
    if network is None:
        large = gpu and long >= 500
        network = 'deeplabv3plus_r101-d8_u2plhead' if large else 'fpn_efficientnet-lite0'
        why = 'images at least as large as VOC’s 500 pixels' if large else 'small and measured'
        net = Choice('network', network, f'{where}; {why}')
    else:
        net = Choice('network', network, asked)

    scale = _scale(images, short, gpu)
    schedule, meant = NETWORKS[network]
    lr = Config.fromfile(BASES / f'schedules/{schedule}.py').optim_wrapper.optimizer.lr
    scaled = '' if meant == PER_STEP else f', {lr:g} × {PER_STEP}/{meant} labeled images a step'
    draws = (num_labeled / PER_STEP, num_unlabeled / recipe.unlabeled if recipe.unlabeled else 0)
    share = WARMUP_SHARE if recipe.warmup else 0
    total = _iterations(*draws, share, iterations)
    workers = min(4, os.cpu_count() or 1)
    choices = [
        Choice('method', method, 'what docs/when_it_helps.md starts from'),
        net,
        Choice('masks', masks.kind, _mask_reason(masks)),
        scale,
        _crop(images, scale.value[1]),
        _normalization(images),
        Choice(
            'batch',
            f'{PER_STEP} + {recipe.unlabeled}',
            'labeled + unlabeled images a step, as measured',
        ),
        total,
        Choice('schedule', schedule, 'belongs to the network'),
        Choice('learning rate', lr * PER_STEP / meant, f'of {schedule}{scaled}'),
        Choice('workers', workers, f'{os.cpu_count()} cores, at most 4'),
    ]
    if method != 'u2pl_balanced':
        choices[0] = Choice('method', method, asked)
    if recipe.warmup:
        why = 'a quarter of the iterations on labels alone, as measured'
        choices.insert(8, Choice('warm-up', int(total.value * WARMUP_SHARE), why))
    return {choice.setting: choice for choice in choices}


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


def _scale(images: Images, short: int, gpu: bool) -> Choice:
    """Longest and shortest side; the shortest decides, as the longest has room for every image."""
    limit = GPU_SHORT_SIDE if gpu else CPU_SHORT_SIDE
    side = min(short, limit)
    elongation = float((images.sizes.max(1) / images.sizes.min(1)).max())
    why = f'short side {short} (median)'
    if short > limit:
        why += f' reduced to {limit}, which ' + ('VOC’s crop fits' if gpu else 'a CPU can train')
    return Choice('input scale', (math.ceil(side * elongation), side), why)


def _crop(images: Images, side: int) -> Choice:
    """(height, width) of the typical image at input scale, four fifths of it."""
    sizes = images.sizes * (side / images.sizes.min(1, keepdims=True))  # at input scale
    width, height = np.median(sizes, axis=0)
    least = min(width, height)

    def length(full: float) -> int:
        wanted = min(full * CROP_SHARE, least * CROP_SHARE * LONGEST_CROP)
        steps = min(math.floor(wanted / CROP_STEP + 0.5), math.floor(full / CROP_STEP))
        return max(2 * CROP_STEP, steps * CROP_STEP)

    why = f'height × width: 4/5 of the input in steps of {CROP_STEP}, at most 4:3'
    if least < 2 * CROP_STEP:
        why += f'; padded, as networks need {2 * CROP_STEP}'
    return Choice('crop', (length(height), length(width)), why)


def _normalization(images: Images) -> Choice:
    """The network's own, (mean, std) of RGB where that does not fit."""
    if not images.deep:
        kinds = ', '.join(f'{number} {mode}' for mode, number in sorted(images.modes.items()))
        why = f'8-bit images ({kinds}), as the pretrained weights saw'
        return Choice('normalization', 'the network’s own', why)
    mean, std = measure_normalization(list(images.paths.values()))
    why = '16-bit images are loaded by their upper 8 bits: measured mean and standard deviation'
    return Choice('normalization', (mean.tolist(), std.tolist()), why)


def _iterations(labeled: float, unlabeled: float, warmup_share: float, asked: int | None) -> Choice:
    """From the steps that see each labeled, and each unlabeled image once."""
    if asked is not None:
        return Choice('iterations', asked, 'you asked for it')
    needs = {
        'as measured, and no fewer': LEAST_ITERS,
        f'each labeled image {LABELED_EPOCHS} times': LABELED_EPOCHS * labeled,
        f'each unlabeled image {UNLABELED_EPOCHS} times, warm-up apart': (
            UNLABELED_EPOCHS * unlabeled / (1 - warmup_share)
        ),
    }
    why = max(needs, key=lambda key: needs[key])
    return Choice('iterations', math.ceil(needs[why] / 100) * 100, why)


def default_palette(number: int) -> Sequence[list[int]]:
    """Colors of well separated hue, the first black for a background.

    Returns:
        R, G, B (0 ... 255) of each class.
    """
    golden = (math.sqrt(5) - 1) / 2
    hues = [colorsys.hsv_to_rgb(i * golden % 1, 0.75, 0.9) for i in range(number - 1)]
    return [[0, 0, 0], *([round(255 * part) for part in hue] for hue in hues)]
