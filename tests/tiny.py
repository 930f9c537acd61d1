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
BOXES = torch.tensor([[0, 0, 32, 16], [4, 8, 20, 32]])
COARSE = BOXES // 4
"""The same boxes at stride 4."""
EMA = dict(momentum=0.95, norm='ema')
"""A teacher."""
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


SMALL_BANK = dict(bank_size=64, num_anchors=32, num_negatives=8, keys_per_step=32)
CONFIDENT: dict[str, dict] = dict(
    selection=dict(type='ConfidenceThreshold', threshold=0.5), mix=dict(type='CutMix', prob=1.0)
)
METHODS: dict[str, dict] = {
    'U2PL': dict(contrastive={}),
    'FixMatch': CONFIDENT,
    'MeanTeacher': {},
    'UniMatch': CONFIDENT,
    'UniMatchV2': CONFIDENT,
}
"""What a tiny model of each method is built with."""
BALANCED: dict[str, dict | float] = dict(
    teacher=EMA,
    view=dict(type='PhotometricView', hue=0.0),
    selection=dict(type='EntropyPercentile', anneal=False, per_class=True),
    alignment=dict(type='ClassAlignment'),
    unsup_weight=1.5,
)
"""FixMatch for few labels and classes of very different size."""


def semi_config(kind, num_classes=3, aux=False, dropout=0.1, **method):
    """A tiny method of one network; ``method`` overrides its settings."""
    settings = {**METHODS[kind], **method}
    if settings.get('contrastive') is not None:
        settings['contrastive'] = {**SMALL_BANK, **settings['contrastive']}
        branch = dict(channels=8, out_channels=8, dropout_ratio=dropout)
        settings = dict(representation_head=branch, **settings)
    return dict(type=kind, **{**networks(num_classes, aux, dropout), **settings})


def u2pl_config(**settings):
    """A tiny U²PL."""
    return semi_config('U2PL', **settings)


def semi(kind, seed=0, progress=(0, 10), **config):
    """A built model in training mode; after the warm-up its teacher is a copy of the student."""
    torch.manual_seed(seed)
    model = MODELS.build(semi_config(kind, **config))
    model.before_iter(*progress)
    return model.train()


def u2pl(**settings):
    """A built U²PL in training mode, its teacher already a copy."""
    return semi('U2PL', **settings)


def always(kind='CutMix'):
    """A mix of every step."""
    return dict(type=kind, prob=1.0)


def sure_of_all_classes(*heads, features):
    """Bring the logits of decode heads to mean 0 and variance 1: predictions of every class."""
    with torch.no_grad():
        for head in heads:
            logits = head(features)
            scale = 1 / logits.std((0, 2, 3))
            head.conv_seg.weight.mul_(scale.view(-1, 1, 1, 1))
            head.conv_seg.bias.sub_(logits.mean((0, 2, 3))).mul_(scale)


def ready(kind='U2PL', change=0.2, **config):
    """Teacher and student differ; eval mode, so that images do not influence each other.

    α of U²PL is 20 · (1 − ¼) = 15.
    """
    model = semi(kind, progress=(3, 12), **config).eval()
    images = torch.randn(8, 3, *CROP)
    with torch.no_grad():
        sure_of_all_classes(model.decode_head, features=model.extract_feat(images))
        if model.teacher is not None:
            model.teacher.start(model)
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and name.startswith(('backbone', 'decode', 'repr')):
                tensor.mul_(1 + change * torch.rand_like(tensor))
    return model


def predict(model, name, images):
    """Logits at image size of one predictor."""
    before, model.predictor = model.predictor, name
    metas = [dict(img_shape=CROP, pad_shape=CROP)] * len(images)
    logits = model.encode_decode(images, metas).detach()
    model.predictor = before
    return logits


def labels_of(samples):
    """The label maps (B, H, W) of data samples."""
    return torch.cat([sample.gt_sem_seg.data for sample in samples])


def sample(label):
    """A data sample around one label map (H, W)."""
    size = tuple(label.shape)
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    return SegDataSample(gt_sem_seg=PixelData(data=label[None]), metainfo=meta)


def batch(labeled=2, unlabeled=2, num_classes=3, size=CROP, seed=1, pad_rows=0):
    """Inputs and data samples of both streams; ``pad_rows`` rows at the bottom are padding."""
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


def without_gradient(model):
    """Trainable parameters that a backward left out: DDP would hang."""
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


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


def mask_path(root, name):
    """The mask of a labeled image."""
    return root / 'masks' / 'train' / f'{name}.png'


def set_label(root, value, name='l2'):
    """Change one pixel of a labeled mask."""
    path = mask_path(root, name)
    mask = np.array(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    mask[5, 5] = value
    cv2.imwrite(str(path), mask)


def assert_raises(kind, call, *parts):
    """The call fails, and its message has all the parts."""
    with pytest.raises(kind) as error:
        call()
    for part in parts:
        assert str(part) in str(error.value)
