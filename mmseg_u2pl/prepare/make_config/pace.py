"""How long training will take on this machine: a few steps are measured."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import mmcv
import torch
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

ENOUGH = 10.0  # seconds, after which no further step is measured


class Pace(NamedTuple):
    """Seconds of a step for each pixel of a crop, and of a step's images for reading them."""

    pixel: float
    reading: float

    def minutes(self, crop: Sequence[int], iterations: int) -> float:
        """Of a training; without validation."""
        return iterations * (self.pixel * crop[0] * crop[1] + self.reading) / 60


def measure_pace(
    model: Mapping[str, Any], crop: tuple[int, int], labeled: int, unlabeled: int, paths: list[Path]
) -> Pace:
    """The median of three training steps on random pixels, after one that is not counted.

    Args:
        model: Config of the model.
        crop: Height and width, pixels.
        labeled: Images a step.
        unlabeled: Images a step.
        paths: Images, of which three are read.
    """
    init_default_scope('mmseg')
    device = get_device()
    network = MODELS.build(dict(model)).to(device).train()
    labels = torch.randint(0, network.num_classes, (1, *crop))
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
    sample.set_metainfo(dict(img_shape=crop, ori_shape=crop))
    number = labeled + unlabeled
    batch: dict[str, Any] = dict(
        inputs=list(torch.randint(0, 256, (number, 3, *crop), dtype=torch.uint8)),
        data_samples=[sample.clone() for _ in range(number)],
    )
    if unlabeled:
        batch['stream'] = ['sup'] * labeled + ['unsup'] * unlabeled
        network.begin_run(resumed=False)
        network.before_iter(10**6, 10**6 + 1)  # after the warm-up
    start = time.perf_counter()
    seconds: list[float] = []
    while len(seconds) < 4 and (len(seconds) < 2 or time.perf_counter() - start < ENOUGH):
        before = time.perf_counter()
        losses = network(**network.data_preprocessor(batch, training=True), mode='loss')
        loss, logged = network.parse_losses(losses)
        loss.backward()
        network.zero_grad()
        if unlabeled:
            network.after_step(logged)
        if device != 'cpu':
            loss.item()  # wait for the device
        seconds.append(time.perf_counter() - before)
    reads = []
    for path in paths[:: max(1, len(paths) // 3)][:3]:
        before = time.perf_counter()
        mmcv.imread(path)
        reads.append(time.perf_counter() - before)
    reading = median(reads) * number / (os.cpu_count() or 1)
    return Pace(median(seconds[1:]) / (crop[0] * crop[1]), reading if device == 'cpu' else 0.0)
