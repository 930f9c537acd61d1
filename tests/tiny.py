"""Builders of tiny configs, networks and batches, shared by the tests."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_u2pl.datasets import SemiDataset

META = dict(classes=('red', 'green', 'blue'), palette=[[200, 0, 0], [0, 200, 0], [0, 0, 200]])
CROP = (32, 32)
COUNTS = (
    'anchors_labeled',
    'anchors_unlabeled',
    'negatives_labeled',
    'negatives_unlabeled',
    'bank',
)


def networks(num_classes=3, aux=False, dropout=0.1):
    """Backbone and heads of a segmentor that classifies at stride 4."""
    norm = dict(type='BN')
    config = dict(
        backbone=dict(
            type='ResNet', depth=18, base_channels=8, num_stages=2, out_indices=(0, 1),
            strides=(1, 1), dilations=(1, 1), norm_cfg=norm, norm_eval=False,
        ),
        decode_head=dict(
            type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1,
            concat_input=False, num_classes=num_classes, dropout_ratio=dropout, norm_cfg=norm,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
        train_cfg=dict(),
        test_cfg=ConfigDict(mode='whole'),
    )  # fmt: skip
    if aux:
        config['auxiliary_head'] = dict(
            type='FCNHead', in_channels=8, in_index=0, channels=8, num_convs=1,
            concat_input=False, num_classes=num_classes, dropout_ratio=0, norm_cfg=norm,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4),
        )  # fmt: skip
    return config


def u2pl_config(num_classes=3, aux=False, dropout=0.1, **method):
    """A tiny U²PL; ``method`` overrides its own settings."""
    contrastive = dict(bank_size=64, num_anchors=32, num_negatives=8, keys_per_step=32)
    settings = dict(
        type='U2PL',
        representation_head=dict(channels=8, out_channels=8, dropout_ratio=dropout),
        contrastive=contrastive,
        **networks(num_classes, aux, dropout),
    )
    if isinstance(method.get('contrastive'), dict):
        method['contrastive'] = {**contrastive, **method['contrastive']}
    return {**settings, **method}


def u2pl(seed=0, progress=(0, 10), teacher=True, **config):
    """A built, initialised U²PL in training mode, its teacher already a copy."""
    torch.manual_seed(seed)
    model = MODELS.build(u2pl_config(**config))
    model.set_progress(*progress)
    if teacher:
        model.teacher.copy_from(model)
    return model.train()


def sample(label):
    """A data sample around one label map (H, W)."""
    size = tuple(label.shape)
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    return SegDataSample(gt_sem_seg=PixelData(data=label[None]), metainfo=meta)


def batch(labeled=2, unlabeled=2, num_classes=3, size=CROP, seed=1, pad_rows=0):
    """Inputs and data samples of both streams; ``pad_rows`` rows at the bottom are pads."""
    generator = torch.Generator().manual_seed(seed)
    inputs, samples = {}, {}
    for stream, count in (('sup', labeled), ('unsup', unlabeled)):
        inputs[stream] = torch.randn(count, 3, *size, generator=generator)
        labels = torch.randint(0, num_classes, (count, *size), generator=generator)
        if stream == 'unsup':
            labels = torch.zeros_like(labels)
        if pad_rows:
            labels[:, -pad_rows:] = 255
        samples[stream] = [sample(label) for label in labels]
    return inputs, samples


def total(losses):
    """What the runner sums for backward."""
    model_losses = [value for key, value in losses.items() if 'loss' in key]
    return sum(model_losses[1:], model_losses[0])


AUGMENT = [
    dict(type='RandomResize', scale=(48, 40), ratio_range=(0.5, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=CROP, cat_max_ratio=0.9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]


def labeled_config(root, **changes):
    """The labeled part of a ``SemiDataset`` on the tiny data."""
    return {
        **dict(
            type='BaseSegDataset',
            metainfo=META,
            data_root=str(root),
            data_prefix=dict(img_path='images/train', seg_map_path='masks/train'),
            ann_file='labeled.txt',
            img_suffix='.png',
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), *AUGMENT],
        ),
        **changes,
    }


def unlabeled_config(root, **changes):
    """Its unlabeled part."""
    return {
        **dict(
            type='UnlabeledDataset',
            data_root=str(root),
            data_prefix=dict(img_path='images/train'),
            ann_file='unlabeled.txt',
            img_suffix='.png',
            pipeline=[dict(type='LoadImageFromFile'), dict(type='AddValidityMap'), *AUGMENT],
        ),
        **changes,
    }


def semi_dataset(root, labeled=None, unlabeled=None):
    """Both parts, each with changes of its own."""
    return SemiDataset(
        labeled_config(root, **(labeled or {})), unlabeled_config(root, **(unlabeled or {}))
    )


def set_label(root, value, name='l2'):
    """Change one pixel of a labeled mask."""
    path = root / 'masks' / 'train' / f'{name}.png'
    mask = np.array(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    mask[5, 5] = value
    cv2.imwrite(str(path), mask)


def assert_raises(kind, call, *parts):
    """The call fails, and its message has all the parts."""
    with pytest.raises(kind) as error:
        call()
    for part in parts:
        assert str(part) in str(error.value)
