"""Every shipped config: it builds, predicts and trains, and compares with its twin fairly."""

import re
from pathlib import Path

import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.fileio import load as load_file
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS

from mmseg_u2pl.models import SemiSegmentor

ROOT = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(path for path in ROOT.glob('*/*.py') if path.parent.name != '_base_')
METHODS = sorted({path.parent.name for path in LEAVES})
SUPERVISED = [path for path in LEAVES if path.parent.name.startswith('supervised')]
TWINS = [path for path in SUPERVISED if '-all-' not in path.name]  # all labels: nothing unlabeled
SWAPS = [path for path in LEAVES if re.search(r"'\./\w", path.read_text())]
VOC = next(ROOT.glob('u2pl/u2pl_r101-*voc12-classic-1464-*.py'))
CITYSCAPES = next(ROOT.glob('u2pl/u2pl_r101-*cityscapes-u2pl-1_4-744-*.py'))
SIZE = (65, 65)

each_config = pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)


def load(path):
    """A config that downloads nothing and keeps a small bank."""
    cfg = Config.fromfile(path)
    cfg.model.backbone.pop('init_cfg', None)
    if 'pretrained' in cfg.model.backbone:
        cfg.model.backbone.pretrained = False
    if 'contrastive' in cfg.model:
        cfg.merge_from_dict({'model.contrastive.bank_size': 64})
    return cfg


def build(cfg):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def labeled_part(cfg):
    dataset = cfg.train_dataloader.dataset
    return dataset.get('labeled', dataset)


def labeled_per_step(cfg):
    """Labeled images one process sees in a step."""
    ratio = cfg.train_dataloader.sampler.get('ratio', (1, 0))
    return cfg.train_dataloader.batch_size * ratio[0] // sum(ratio)


def parts(pattern, path):
    """What the groups of a pattern find in a config's name."""
    found = re.search(pattern, path.stem)
    assert found, path.stem
    return found.groups()


def classes(cfg):
    return DATASETS.get(labeled_part(cfg).type).METAINFO['classes']


@each_config
def test_config_builds_predicts_and_trains(path):
    cfg = load(path)
    model = build(cfg)
    inputs, samples = tiny.batch(num_classes=model.num_classes, size=SIZE)
    assert model.num_classes == len(classes(cfg))
    if 'auxiliary_head' in cfg.model:
        assert model.auxiliary_head.num_classes == model.num_classes

    model.eval()
    with torch.no_grad():
        logits = model(inputs['sup'], mode='tensor')
    assert logits.shape[:2] == (2, model.num_classes)
    assert logits.isfinite().all()

    model.train()
    if isinstance(model, SemiSegmentor):
        model.set_progress(model.warmup_iters, cfg.train_cfg.max_iters)
        model.teacher.copy_from(model)
        losses = model.loss(inputs, samples)
        assert 'unsup.loss_ce' in losses
        assert ('contrast.loss_nce' in losses) == (cfg.model.type == 'U2PL')
    else:
        losses = model.loss(inputs['sup'], samples['sup'])
    loss = tiny.total(losses)
    assert loss.isfinite()
    loss.backward()
    idle = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if cfg.get('find_unused_parameters'):
        assert idle
        assert all(name.startswith('decode_head.representation.') for name in idle)
    else:
        assert idle == []  # DDP would stop at the next step


@each_config
def test_name_says_how_many_images_a_process_sees(path):
    labeled, unlabeled = parts(r'_\d+xb(\d+)(?:\+(\d+))?-', path)
    cfg = Config.fromfile(path)
    assert labeled_per_step(cfg) == int(labeled)
    assert cfg.train_dataloader.batch_size == int(labeled) + int(unlabeled or 0)
    assert (unlabeled is None) == (cfg.model.type == 'EncoderDecoder')


@each_config
def test_name_says_crop_and_split(path):
    cfg = Config.fromfile(path)
    dataset, split, height, width = parts(r'-\d+e?_([a-z0-9]+)-(.+)-(\d+)x(\d+)$', path)
    assert tuple(cfg.model.data_preprocessor.size) == (int(height), int(width))
    crops = [step for step in labeled_part(cfg).pipeline if step.type == 'RandomCrop']
    assert [tuple(step.crop_size) for step in crops] == [(int(height), int(width))]
    if dataset != 'synthetic':  # its lists carry no name
        expected = '' if split == 'all' else f'splits/{split}_labeled.txt'
        assert labeled_part(cfg).ann_file == expected


@pytest.mark.parametrize('path', TWINS, ids=lambda path: path.stem)
def test_supervised_twin_differs_in_the_method_alone(path):
    name = re.sub(r'(\d+xb)(\d+)-', r'\1\2+\2-', f'{path.parent.name}/{path.name}')
    ours, twin = Config.fromfile(ROOT / name.replace('supervised', 'u2pl')), Config.fromfile(path)
    for key in ('data_preprocessor', 'backbone', 'neck', 'decode_head', 'auxiliary_head'):
        assert ours.model.get(key) == twin.model.get(key), key
    assert ours.model.test_cfg == twin.model.test_cfg
    for key in ('optim_wrapper', 'train_cfg', 'param_scheduler', 'val_dataloader'):
        assert ours[key] == twin[key], key
    assert labeled_part(ours) == labeled_part(twin)
    assert labeled_per_step(ours) == labeled_per_step(twin)
    assert twin.model.type == 'EncoderDecoder'
    weights = [[hook for hook in cfg.get('custom_hooks', []) if hook.type == 'ClassWeightsHook']
               for cfg in (ours, twin)]  # fmt: skip
    assert weights[0] == weights[1]


@pytest.mark.parametrize('path', SWAPS, ids=lambda path: path.stem)
def test_a_swapped_network_takes_under_ten_lines(path):
    assert len(path.read_text().splitlines()) < 10


def test_there_are_swaps():
    assert len(SWAPS) >= 4


@pytest.mark.parametrize(
    ('path', 'iterations', 'warmup', 'window'),
    [(VOC, 45_600, 570, None), (CITYSCAPES, 27_800, 0, (513, 513))],
    ids=['voc', 'cityscapes'],
)
def test_recipe(path, iterations, warmup, window):
    cfg = Config.fromfile(path)
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == iterations
    assert cfg.model.warmup_iters == warmup
    assert cfg.model.test_cfg.get('stride') == window
    assert cfg.sync_bn == 'torch'
    assert not any('cat_max_ratio' in step for step in labeled_part(cfg).pipeline)


def test_network_has_output_stride_8_and_multi_grid():
    backbone = build(load(VOC)).backbone
    dilations = [[block.conv2.dilation[0] for block in backbone.layer3]]
    dilations.append([block.conv2.dilation[0] for block in backbone.layer4])
    assert dilations == [[1] + [2] * 22, [4, 8, 16]]
    backbone.eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, *SIZE))
    assert [feature.shape[2] for feature in features] == [17, 9, 9, 9]


@pytest.mark.parametrize(
    ('path', 'backbone_lr', 'head_lr', 'decay'),
    [(VOC, 0.001, 0.01, 1e-4), (CITYSCAPES, 0.01, 0.01, 5e-4)],
    ids=['voc', 'cityscapes'],
)
def test_learning_rates_and_no_step_of_the_teacher(path, backbone_lr, head_lr, decay):
    cfg = load(path)
    model = build(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    rates = {id(p): group['lr'] for group in optimizer.param_groups for p in group['params']}
    assert {group['weight_decay'] for group in optimizer.param_groups} == {decay}
    for name, parameter in model.named_parameters():
        if name.startswith('teacher.'):
            assert not parameter.requires_grad
        else:
            expected = backbone_lr if name.startswith('backbone.') else head_lr
            assert rates[id(parameter)] == pytest.approx(expected), name


@pytest.mark.parametrize('method', METHODS)
def test_index_and_readme_name_every_config(method):
    stems = {path.stem for path in LEAVES if path.parent.name == method}
    index = load_file(ROOT / method / 'metafile.yml')
    assert {model['Name'] for model in index['Models']} == stems
    assert {Path(model['Config']).stem for model in index['Models']} == stems
    assert all((ROOT.parent / model['Config']).is_file() for model in index['Models'])
    collections = {collection['Name'] for collection in index['Collections']}
    assert {model['In Collection'] for model in index['Models']} <= collections
    readme = (ROOT / method / 'README.md').read_text()
    assert [stem for stem in stems if f'{stem}.py' not in readme] == []
