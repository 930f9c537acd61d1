"""Every shipped config builds, predicts and trains; rates reach the right parameters."""

import json
from typing import NamedTuple

import pytest
import tiny
import torch
from leaves import ROOT, each_file, each_leaf, load
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmseg_u2pl.models.data_preprocessor import Grid
from mmseg_u2pl.models.discriminators.region_discriminator import CELL

VOC = ROOT / 'u2pl/u2pl_r101-d8_voc12-513x513.py'
CITYSCAPES = ROOT / 'u2pl/u2pl_r101-d8_cityscapes-769x769.py'
DINOV2 = ROOT / 'supervised/supervised_dinov2-s_voc12-518x518.py'
SIZE = (33, 33)
CELL_SIZE = (16 * CELL, 16 * CELL)  # one region of a discriminator without a set grid


def load_small(path):
    """A config that downloads nothing and keeps a small bank."""
    cfg = load(path)
    if cfg.model.backbone.type == 'HFBackbone':
        pytest.importorskip('transformers')
    cfg.model.backbone.pop('init_cfg', None)
    if 'pretrained' in cfg.model.backbone:
        cfg.model.backbone.pretrained = False
    if cfg.model.get('contrastive'):
        cfg.merge_from_dict({'model.contrastive.bank_size': 64})
    return cfg


def build(cfg):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    return model


class Trained(NamedTuple):
    """What one forward and one training step of a network showed."""

    num_classes: int
    losses: set[str]
    idle: list[str]  # parameters without a gradient


TRAINED: dict[str, Trained] = {}


def train_once(cfg):
    """Build the network, predict and take the gradients of one step after the warm-up.

    Configs with the same model share one run.
    """
    lengths = dict(warmup_iters=0, selftrain_warmup_iters=0, rampup_iters=0)
    key = json.dumps({**cfg.model.to_dict(), **lengths}, sort_keys=True)
    if key not in TRAINED:
        TRAINED[key] = predict_and_train(cfg)
    return TRAINED[key]


def predict_and_train(cfg):
    model = build(cfg)
    cells = cfg.model.type == 'RRN' and 'grid' not in cfg.model.get('discriminator', {})
    inputs, samples = tiny.batch(num_classes=model.num_classes, size=CELL_SIZE if cells else SIZE)
    model.eval()
    with torch.no_grad():
        logits = model(inputs['sup'], mode='tensor')
    assert logits.shape[:2] == (2, model.num_classes)
    assert logits.isfinite().all()

    model.train()
    if cfg.model.type == 'EncoderDecoder':
        losses = model.loss(inputs['sup'], samples['sup'])
    else:
        start = model.warmup_iters + getattr(model, 'selftrain_warmup_iters', 0)
        model.before_iter(start, cfg.train_cfg.max_iters)
        losses = model.loss(inputs, samples)
    loss = tiny.total(losses)
    assert loss.isfinite()
    loss.backward()
    return Trained(model.num_classes, set(losses), tiny.without_gradient(model))


EXPECTED_LOSSES = {
    'EncoderDecoder': {'decode.loss_ce'},
    'U2PL': {'unsup.loss_ce', 'contrast.loss_nce'},
    'FixMatch': {'unsup.loss_ce'},
    'MeanTeacher': {'unsup.loss_mse'},
    'UniMatch': {'unsup.loss_s1', 'unsup.loss_s2', 'unsup.loss_fp'},
    'UniMatchV2': {'unsup.loss_s1', 'unsup.loss_s2'},
    'CrossPseudo': {'cps.loss_network1', 'cps.loss_network2'},
    'RRN': {'cps.loss_network2', 'rrn.loss_local', 'rrn.loss_dynamic', 'disc.loss_network2'},
}


@each_file
def test_config_builds_predicts_and_trains(path):
    cfg = load_small(path)
    trained = train_once(cfg)
    assert trained.num_classes == cfg.model.decode_head.num_classes
    assert EXPECTED_LOSSES[cfg.model.type] <= trained.losses
    if cfg.get('find_unused_parameters'):
        assert trained.idle
        assert all(name.startswith('decode_head.representation.') for name in trained.idle)
    else:
        assert trained.idle == []  # DDP would stop at the next step


@each_leaf
def test_crop_is_on_the_grid_of_the_network(leaf):
    cfg = load(leaf)
    preprocessor = cfg.model.data_preprocessor
    grid = Grid(**preprocessor.grid)
    assert [grid.fit(side) for side in preprocessor.size] == list(preprocessor.size)
    aligned = cfg.model.decode_head.get('align_corners', False)
    assert grid.offset == int(aligned)


def test_network_has_output_stride_8_and_multi_grid():
    backbone = build(load_small(VOC)).backbone
    dilations = [[block.conv2.dilation[0] for block in backbone.layer3]]
    dilations.append([block.conv2.dilation[0] for block in backbone.layer4])
    assert dilations == [[1] + [2] * 22, [4, 8, 16]]
    backbone.eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, *SIZE))
    assert [feature.shape[2] for feature in features] == [9, 5, 5, 5]


@pytest.mark.parametrize(
    ('path', 'backbone_lr', 'head_lr', 'decay'),
    [(VOC, 0.001, 0.01, 1e-4), (CITYSCAPES, 0.01, 0.01, 5e-4), (DINOV2, 5e-6, 2e-4, 0.01)],
    ids=['voc', 'cityscapes', 'dinov2'],
)
def test_learning_rates_and_no_step_of_the_teacher(path, backbone_lr, head_lr, decay):
    cfg = load_small(path)
    model = build(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    rates = {id(p): group['lr'] for group in optimizer.param_groups for p in group['params']}
    assert {group['weight_decay'] for group in optimizer.param_groups} == {decay}
    for name, parameter in model.named_parameters():
        if name.startswith('teacher.') or name.endswith('mask_token'):
            assert not parameter.requires_grad
        else:
            expected = backbone_lr if name.startswith('backbone.') else head_lr
            assert rates[id(parameter)] == pytest.approx(expected), name


@pytest.mark.parametrize(
    ('size', 'width', 'channels', 'millions'),
    [('s', 384, [48, 96, 192, 384], 22.06), ('b', 768, [96, 192, 384, 768], 86.58)],
)
def test_networks_of_unimatch_v2(size, width, channels, millions):
    """Layers 3, 6, 9 and 12 of DINOv2; the parameters are those of the published weights."""
    cfg = load_small(ROOT / f'unimatch_v2/unimatch-v2_dinov2-{size}_voc12-518x518.py')
    assert cfg.model.backbone.name.startswith('facebook/dinov2-')
    backbone = MODELS.build(cfg.model.backbone)
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    assert backbone.model.out_features == ['stage3', 'stage6', 'stage9', 'stage12']
    assert backbone.model.config.num_hidden_layers == 12
    assert backbone.model.config.hidden_size / backbone.model.config.num_attention_heads == 64
    head = MODELS.build(cfg.model.decode_head)
    assert [p.in_channels for p in head.reassemble_blocks.projects] == [width] * 4
    assert [p.out_channels for p in head.reassemble_blocks.projects] == channels
    assert head.conv_seg.in_channels == width // 6


@pytest.mark.parametrize(
    ('data', 'rate', 'adam'),
    [('voc12-512x512', 0.0025, 1e-4), ('cityscapes-800x800', 0.02, 1e-5)],
)
def test_networks_of_rrn(data, rate, adam):
    """Output stride 16, one rate for networks, another for discriminators; no grid is set."""
    cfg = load_small(ROOT / f'rrn/rrn_r50-d16_{data}.py')
    model = build(cfg).eval()
    for network in model.networks:
        with torch.no_grad():
            features = network.backbone(torch.zeros(1, 3, 64, 64))
        assert [feature.shape[2] for feature in features] == [16, 8, 4, 4]
        assert network.decode_head.dilations == (1, 6, 12, 18)
    parts = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.parts
    groups = {name: part.param_groups for name, part in parts.items()}
    assert {group['lr'] for group in groups['networks']} == {rate}
    assert {group['weight_decay'] for group in groups['networks']} == {1e-4}
    assert {group['lr'] for group in groups['discriminators']} == {adam}
    assert [d.pool for d in model.discriminators] == [None, None]
