"""Every network base predicts where the pixels are, at any test size."""

import runpy
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_u2pl.models.data_preprocessor import Grid

TOOL = runpy.run_path(str(Path(__file__).parents[2] / 'tools/displacement.py'))
agreement, displacement = TOOL['agreement'], TOOL['displacement']

BASES = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
CLASSES = 3
SCENES = 6
RESNET18 = dict(depth=18, stem_channels=16, base_channels=16, init_cfg=None)
SMALL: dict[str, dict[str, Any]] = {
    'deeplabv3plus_r101-d8_u2plhead': dict(
        backbone=RESNET18,
        decode_head=dict(in_channels=128, low_level_channels=16, channels=16, rep_channels=8),
    ),
    'deeplabv3plus_r50-d16': dict(
        backbone=RESNET18,
        decode_head=dict(in_channels=128, c1_in_channels=16, channels=16, c1_channels=16),
    ),
    'dpt_dinov2-s': dict(
        backbone=dict(
            pretrained=False,
            config=dict(hidden_size=32, num_attention_heads=2, num_hidden_layers=3, image_size=98),
            out_indices=(0, 1, 2, 3),
        ),
        decode_head=dict(
            embed_dims=32, in_channels=[32] * 4, post_process_channels=[16] * 4, channels=16
        ),
    ),
    'fpn_efficientnet-lite0': dict(backbone=dict(pretrained=False)),
    'segformer_mit-b2': dict(
        backbone=dict(
            embed_dims=16, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], init_cfg=None
        ),
        decode_head=dict(in_channels=[16, 16, 16, 16], channels=32),
    ),
    'upernet_swin-t': dict(
        backbone=dict(embed_dims=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], init_cfg=None),
        decode_head=dict(in_channels=[24, 48, 96, 192], channels=16),
    ),
}
NETWORKS = sorted(SMALL)
DISPLACED = sorted({*NETWORKS} - {'dpt_dinov2-s'})  # without padding
STEPS = {
    'dpt_dinov2-s': 48,
    'deeplabv3plus_r101-d8_u2plhead': 32,
    'deeplabv3plus_r50-d16': 56,
    'fpn_efficientnet-lite0': 24,
    'segformer_mit-b2': 32,
    'upernet_swin-t': 32,
}


def model_config(name: str) -> Config:
    """The base's model; two bases hold only a backbone and a head, which replace another's."""
    cfg = Config.fromfile(BASES / f'{name}.py')
    if 'model' not in cfg:
        parts = [value for value in cfg.values() if isinstance(value, dict)]
        cfg.model = Config.fromfile(BASES / 'deeplabv3plus_r101-d8_u2plhead.py').model
        cfg.model.data_preprocessor.grid = dict(stride=32)
        cfg.model.backbone = next(part for part in parts if 'embed_dims' in part)
        cfg.model.decode_head = next(part for part in parts if 'in_index' in part)
    return cfg


def build(name: str):
    """A small variant of the base with random weights."""
    if 'dinov2' in name:
        pytest.importorskip('transformers')
    cfg = model_config(name)
    cfg.merge_from_dict(dict(model=SMALL[name]))
    cfg.model.decode_head.num_classes = CLASSES
    grid = Grid(**cfg.model.data_preprocessor.grid)
    cfg.model.data_preprocessor.size = [grid.fit(64), grid.fit(96)]
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def scene(size, seed=0):
    """Blobs some 12 pixels wide whose color tells the class: image (3, H, W) uint8, mask (H, W)."""
    rng = np.random.default_rng(seed)
    fields = [cv2.GaussianBlur(rng.normal(size=size), (0, 0), 5) for _ in range(CLASSES)]
    mask = np.argmax(fields, 0)
    colors = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])
    image = (colors[mask] + rng.normal(0, 10, (*size, 3))).clip(0, 255)
    return torch.from_numpy(image.astype(np.uint8)).permute(2, 0, 1), torch.from_numpy(mask)


class Fitted:
    """A small network after some steps on crops on the grid, which suffice for large blobs."""

    def __init__(self, name: str) -> None:
        self.model = build(name)
        self.grid = self.model.data_preprocessor.grid
        self.crop = self.model.data_preprocessor.size
        for module in self.model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = 0.2  # a few steps must suffice
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
        for step in range(STEPS[name]):
            scenes = [scene(self.crop, 4 * step + i) for i in range(4)]
            batch = dict(
                inputs=[image for image, _ in scenes],
                data_samples=[tiny.sample(mask) for _, mask in scenes],
            )
            batch = self.model.data_preprocessor(batch, training=True)
            loss = tiny.total(self.model(**batch, mode='loss'))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.model.eval()

    def labels(self, image, grid=True, mode='whole'):
        """Prediction (H, W) of an image (3, H, W), with the grid or without it."""
        self.model.data_preprocessor.grid = self.grid if grid else None
        stride = tuple(side // 2 for side in self.crop)
        self.model.test_cfg = ConfigDict(mode=mode, crop_size=self.crop, stride=stride)
        batch = dict(inputs=[image], data_samples=[tiny.sample(torch.zeros(image.shape[1:]))])
        return self.model.test_step(batch)[0].pred_sem_seg.data[0]

    def displacement(self, size, predict=None, **how):
        """(dy, dx) and the share of right labels, over some scenes of a size."""
        predict = predict or self.labels
        counts = []
        for seed in range(1000, 1000 + SCENES):
            image, mask = scene(size, seed)
            label = predict(image, **how)
            assert label.shape == mask.shape
            counts.append(agreement(label, mask))
        total = sum(counts[1:], counts[0])
        return displacement(total), float(total[4, 4]) / (SCENES * (size[0] - 8) * (size[1] - 8))


fitted = cache(Fitted)


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize(
    ('size', 'mode'),
    [
        ((85, 117), 'whole'),
        ((95, 129), 'whole'),  # one below and one above the grid
        ((41, 50), 'whole'),  # smaller than the crop
        ((41, 50), 'slide'),
        ((81, 121), 'slide'),
    ],
)
def test_predictions_lie_on_the_pixels(name, size, mode):
    shift, share = fitted(name).displacement(size, mode=mode)
    assert shift == (0, 0)
    assert share > 0.75


@pytest.mark.parametrize('size', [(85, 117), (95, 129)])
def test_dinov2_resizes_what_is_not_padded(size):
    shift, share = fitted('dpt_dinov2-s').displacement(size, grid=False)
    assert shift == (0, 0)
    assert share > 0.75


@pytest.mark.parametrize('name', DISPLACED)
def test_without_padding_they_do_not(name):
    network = fitted(name)
    shift, share = network.displacement((95, 129), grid=False)
    assert shift != (0, 0)
    assert share < network.displacement((95, 129))[1] - 0.005


@pytest.mark.parametrize('name', NETWORKS)
def test_an_image_and_its_crop_have_the_same_labels(name):
    network = fitted(name)
    height, width = network.crop
    image, _ = scene((133, 197), 1000)
    top, left = (side // network.grid.stride * network.grid.stride for side in (32, 64))
    crop = image[:, top : top + height, left : left + width]
    label = network.labels(crop)
    whole = network.labels(image)[top : top + height, left : left + width]
    assert displacement(agreement(whole, label)) == (0, 0)
    # the border, attention and image pooling see another image; the fit differs from CPU to CPU
    assert (whole == label)[12:-12, 12:-12].float().mean() > 0.85


@pytest.mark.parametrize('name', NETWORKS)
def test_flipped_views_lie_on_the_pixels(name):
    network = fitted(name)
    network.labels(scene((41, 50))[0])  # whole images, with the grid
    views = MODELS.build(dict(type='SegTTAModel', module=network.model))

    def predict(image):
        samples = [tiny.sample(torch.zeros(image.shape[1:])) for _ in range(2)]
        samples[0].set_metainfo(dict(img_path=''))
        samples[1].set_metainfo(dict(flip=True, flip_direction='horizontal'))
        batch = dict(inputs=[[image], [image.flip(2)]], data_samples=[[s] for s in samples])
        return views.test_step(batch)[0].pred_sem_seg.data[0]

    assert network.displacement((85, 117), predict)[0] == (0, 0)


def test_every_base_is_tested_and_its_grid_is_that_of_its_network():
    names = {path.stem for path in BASES.glob('*.py')} - {'dpt_dinov2-b'}  # wider
    assert names == {*NETWORKS, 'deeplabv3plus_r101-d8_u2plhead_aux-ohem'}
    strides = {'d8': 8, 'd16': 16, 'dinov2': 14}
    for name in names:
        model = model_config(name).model
        grid = model.data_preprocessor.grid
        assert grid.get('offset', 0) == int(model.decode_head.align_corners)
        assert grid.stride == next((s for part, s in strides.items() if part in name), 32)
