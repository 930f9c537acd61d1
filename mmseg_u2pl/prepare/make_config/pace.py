"""How long a training step takes on this machine: a few are measured."""

import time
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from ...models.data_preprocessor import Grid
from .methods import BASES, Method


def measure_pace(network: str, method: Method, num_classes: int, num_labeled: int) -> float:
    """Seconds of a training step for each pixel of a crop, without reading the images.

    The median of three steps on random pixels, after one that is not counted. A step has
    ``num_labeled`` labeled images, and the unlabeled ones of the method.
    """
    init_default_scope('mmseg')
    config = Config.fromfile(BASES / f'models/{network}.py').model
    crop = (Grid(**config.data_preprocessor.grid).fit(192),) * 2
    config.data_preprocessor.size = crop
    config.decode_head.num_classes = num_classes
    model = MODELS.build({**config, **method.settings(1, crop)}).to(get_device()).train()
    labels = PixelData(data=torch.randint(0, num_classes, (1, *crop)))
    sample = SegDataSample(gt_sem_seg=labels, metainfo=dict(img_shape=crop, ori_shape=crop))
    number = num_labeled * (1 + method.group)
    batch: dict[str, Any] = dict(
        inputs=list(torch.randint(0, 256, (number, 3, *crop), dtype=torch.uint8)),
        data_samples=[sample.clone() for _ in range(number)],
    )
    if method.model:
        batch['stream'] = ['sup'] * num_labeled + ['unsup'] * (number - num_labeled)
        model.begin_run(resumed=False)
        model.before_iter(10**6, 10**6 + 1)  # after the warm-up
    seconds: list[float] = []
    for _ in range(4):
        start = time.perf_counter()
        losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
        loss, logged = model.parse_losses(losses)
        loss.backward()
        model.zero_grad()
        if method.model:
            model.after_step(logged)
        loss.item()  # wait for the device
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:]) / (crop[0] * crop[1])
