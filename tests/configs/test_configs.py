"""Every shipped config: it builds, predicts and trains, and compares with its twin fairly."""

import json
import math
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.fileio import load as load_file
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS, PARAM_SCHEDULERS

from mmseg_u2pl.datasets.converters import split_schemes
from mmseg_u2pl.models import SemiSegmentor
from mmseg_u2pl.models.discriminators.region_discriminator import CELL

ROOT = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(path for path in ROOT.glob('*/*.py') if path.parent.name != '_base_')
METHODS = sorted({path.parent.name for path in LEAVES})
SUPERVISED = [path for path in LEAVES if path.parent.name.startswith('supervised')]
TWINS = [path for path in SUPERVISED if '-all-' not in path.name]  # all labels: nothing unlabeled
SWAPS = [path for path in LEAVES if re.search(r"'\./\w", path.read_text())]
VOC = next(ROOT.glob('u2pl/u2pl_r101-*voc12-classic-1464-*.py'))
CITYSCAPES = next(ROOT.glob('u2pl/u2pl_r101-*cityscapes-u2pl-1_4-744-*.py'))
CROSS = ('cps', 'rrn')  # two networks, pairs of unlabeled images
SIZE = (33, 33)
CELL_SIZE = (16 * CELL, 16 * CELL)  # one region of a discriminator without a set grid

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


TRAINED: dict[str, 'Trained'] = {}


class Trained(NamedTuple):
    """What one forward and one training step of a network showed."""

    num_classes: int
    auxiliary_classes: int | None
    losses: set[str]
    semi: bool
    idle: list[str]  # parameters without a gradient


def train_once(cfg):
    """Build the network, predict and take the gradients of one step.

    Configs whose model sections are the same, but for when the warm-up ends, share one run: it is
    the same network.
    """
    model_config = {**cfg.model.to_dict(), 'warmup_iters': 0, 'selftrain_warmup_iters': 0}
    key = json.dumps(model_config, sort_keys=True)
    if key not in TRAINED:
        TRAINED[key] = predict_and_train(cfg)
    return TRAINED[key]


def predict_and_train(cfg):
    model = build(cfg)
    cells = cfg.model.type == 'RRN' and 'grid' not in cfg.model.get('discriminator', {})
    size = CELL_SIZE if cells else SIZE
    inputs, samples = tiny.batch(num_classes=model.num_classes, size=size)
    model.eval()
    with torch.no_grad():
        logits = model(inputs['sup'], mode='tensor')
    assert logits.shape[:2] == (2, model.num_classes)
    assert logits.isfinite().all()

    model.train()
    semi = isinstance(model, SemiSegmentor)
    if semi:
        start = model.warmup_iters + getattr(model, 'selftrain_warmup_iters', 0)
        model.set_progress(start, cfg.train_cfg.max_iters)
        if hasattr(model, 'teacher'):
            model.teacher.copy_from(model)
        losses = model.loss(inputs, samples)
    else:
        losses = model.loss(inputs['sup'], samples['sup'])
    loss = tiny.total(losses)
    assert loss.isfinite()
    loss.backward()
    auxiliary = model.auxiliary_head.num_classes if 'auxiliary_head' in cfg.model else None
    idle = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    return Trained(model.num_classes, auxiliary, set(losses), semi, idle)


EXPECTED_LOSSES = {
    'U2PL': {'unsup.loss_ce', 'contrast.loss_nce'},
    'CrossPseudo': {'cps.loss_network1', 'cps.loss_network2'},
    'RRN': {'cps.loss_network2', 'rrn.loss_local', 'rrn.loss_dynamic', 'disc.loss_network2'},
}


@each_config
def test_config_builds_predicts_and_trains(path):
    cfg = load(path)
    trained = train_once(cfg)
    assert trained.num_classes == len(classes(cfg))
    assert trained.auxiliary_classes in (None, trained.num_classes)
    if trained.semi:
        assert any('loss' in name and not name.startswith('sup.') for name in trained.losses)
    assert EXPECTED_LOSSES.get(cfg.model.type, set()) <= trained.losses
    if cfg.get('find_unused_parameters'):
        assert trained.idle
        assert all(name.startswith('decode_head.representation.') for name in trained.idle)
    else:
        assert trained.idle == []  # DDP would stop at the next step


@each_config
def test_every_run_checks_and_names_its_lists(path):
    assert Config.fromfile(path).default_hooks.protocol == dict(type='ProtocolHook')


@each_config
def test_name_says_how_many_images_a_process_sees(path):
    labeled, unlabeled = parts(r'_\d+xb(\d+)(?:\+(\d+))?-', path)
    cfg = Config.fromfile(path)
    assert labeled_per_step(cfg) == int(labeled)
    assert cfg.train_dataloader.batch_size == int(labeled) + int(unlabeled or 0)
    assert (unlabeled is None) == (cfg.model.type == 'EncoderDecoder')


@each_config
def test_a_step_has_the_images_of_the_name(path):
    processes, labeled, unlabeled = parts(r'_(\d+)xb(\d+)(?:\+(\d+))?-', path)
    cfg = Config.fromfile(path)
    images = int(processes) * (int(labeled) + int(unlabeled or 0))
    assert cfg.auto_scale_lr == dict(base_batch_size=images)
    assert cfg.default_hooks.resume_batch == dict(type='ResumeBatchHook')


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
    assert weighing_hooks(ours) == weighing_hooks(twin)


def weighing_hooks(cfg):
    return [hook for hook in cfg.get('custom_hooks', []) if hook.type == 'ClassWeightsHook']


def without_protocol(cfg):
    """A config's data, schedule and networks, without what the method adds."""
    model = {key: value for key, value in cfg.model.to_dict().items() if key in SHARED_BY_METHODS}
    optimizer = {**cfg.optim_wrapper.to_dict()}
    for own in ('constructor', 'discriminator_optimizer'):
        optimizer.pop(own, None)
    rest = ('train_dataloader', 'val_dataloader', 'train_cfg', 'param_scheduler', 'default_hooks')
    return {'model': model, 'optimizer': optimizer, **{key: cfg[key] for key in rest}}


SHARED_BY_METHODS = (
    'data_preprocessor', 'backbone', 'neck', 'decode_head', 'auxiliary_head', 'test_cfg', 'cps_weight'
)  # fmt: skip


@pytest.mark.parametrize('path', sorted(ROOT.glob('rrn/*.py')), ids=lambda path: path.stem)
def test_rrn_differs_from_cps_in_the_method_alone(path):
    ours = Config.fromfile(path)
    plain = path.name.replace('rrn-filter', 'rrn', 1)
    twin = Config.fromfile(ROOT / 'cps' / plain.replace('rrn', 'cps', 1))
    assert (ours.model.type, twin.model.type) == ('RRN', 'CrossPseudo')
    if ours.model.get('target') == 'cross':  # a filter: what it accepts weighs as much as L_cps
        votes = 2 * ours.model.selection_weight
        assert ours.model.pop('cps_weight') + votes == twin.model.get('cps_weight', 1)
    assert without_protocol(ours) == without_protocol(twin)
    if labeled_part(ours).type in ('CamVidDataset', 'LabelMeFacadeDataset'):
        name = plain.replace('rrn', 'supervised', 1).replace('4+8', '4')
        folder = name.split('_')[0].replace('-', '_')
        labels_only = Config.fromfile(ROOT / folder / name)
        for key in ('backbone', 'neck', 'decode_head', 'data_preprocessor'):
            assert twin.model[key] == labels_only.model[key], key
        for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'val_dataloader'):
            assert twin[key] == labels_only[key], key
        assert labeled_part(twin) == labeled_part(labels_only)
        weighed = [weighing_hooks(cfg) for cfg in (ours, twin, labels_only)]
        assert weighed[0] == weighed[1] == weighed[2]


@pytest.mark.parametrize('path', SWAPS, ids=lambda path: path.stem)
def test_a_swapped_network_takes_under_ten_lines(path):
    assert len(path.read_text().splitlines()) < 10


def test_there_are_swaps():
    assert len(SWAPS) >= 4


# Iterations of the authors' runs at 16 + 16 images a step, where they are known.
PUBLISHED_ITERATIONS = {
    'voc12': {92: 52_400, 1464: 45_600, 662: 49_600, 5291: 26_400},
    'cityscapes': {186: 34_800, 744: 27_800, 1488: 18_600},
}
# Epochs of RRN's script (VOC) and of CPS (Cityscapes) by labeled images; the classic splits' are ours.
CROSS_EPOCHS = {662: 32, 1323: 34, 2646: 40, 5291: 60, 186: 128, 372: 137, 744: 160, 1488: 240}
WINDOWS = {'voc12': (None, (341, 341)), 'cityscapes': ((513, 513), (533, 533))}  # others, CROSS
POOL = {'voc12': 10_582, 'cityscapes': 2975}  # training images, labeled and unlabeled
PAPERS = [path for path in LEAVES if re.search('_(voc12|cityscapes)-', path.stem)]


def iterations_of_epochs(path):
    """Iterations of one epoch over the unlabeled list, and of the epochs in a config's name.

    Each GPU gets an equal share of the list, rounded up; a last batch that is not full is left
    out. Of pairs, the first images go through the list once an epoch; there are as many as
    labeled images.
    """
    gpus, images, epochs, dataset, labeled = parts(
        r'_(\d+)xb(\d+)(?:\+\d+)?-(\d+)e_(\w+?)-.*?(\d+)-\d+x\d+$', path
    )
    share = math.ceil((POOL[dataset] - int(labeled)) / int(gpus))
    return share // int(images), share // int(images) * int(epochs)


@pytest.mark.parametrize('path', PAPERS, ids=lambda path: path.stem)
def test_recipe(path):
    cfg = Config.fromfile(path)
    dataset, labeled = parts(r'_(voc12|cityscapes)-.*?(\d+)-\d+x\d+$', path)
    epoch, iterations = iterations_of_epochs(path)
    crossed = path.parent.name in CROSS
    if crossed:
        epochs = CROSS_EPOCHS.get(int(labeled), round(317_000 / (POOL[dataset] - int(labeled))))
        assert iterations == epochs * epoch
    else:
        assert iterations == PUBLISHED_ITERATIONS[dataset].get(int(labeled), iterations)
    assert cfg.train_cfg.max_iters == cfg.max_iters == iterations
    ends = {step.type: step.end for step in cfg.param_scheduler}
    assert ends == ({'LinearLR': 10 * epoch} if crossed else {}) | {'PolyLR': iterations}
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval
    assert cfg.sync_bn == 'torch'
    assert not any('cat_max_ratio' in step for step in labeled_part(cfg).pipeline)
    if cfg.model.type == 'U2PL':
        assert cfg.model.warmup_iters == (epoch if dataset == 'voc12' else 0)
    if cfg.model.type == 'RRN':
        assert cfg.model.selftrain_warmup_iters == epoch
    assert cfg.model.test_cfg.get('stride') == WINDOWS[dataset][crossed]


@pytest.mark.parametrize('path', PAPERS, ids=lambda path: path.stem)
def test_masks_and_unlabeled_list_are_those_of_the_split(path):
    cfg = Config.fromfile(path)
    dataset, split = parts(r'_(voc12|cityscapes)-(.+)-\d+x\d+$', path)
    masks = 'SegmentationClassAug' if 'blender' in split else 'SegmentationClass'
    expected = masks if dataset == 'voc12' else 'gtFine/train'
    assert labeled_part(cfg).data_prefix.seg_map_path == expected
    if 'unlabeled' in cfg.train_dataloader.dataset:
        unlabeled = cfg.train_dataloader.dataset.unlabeled
        assert unlabeled.ann_file == f'splits/{split}_unlabeled.txt'
        assert 'seg_map_path' not in unlabeled.data_prefix


@pytest.mark.parametrize('method', ['u2pl_r101', 'supervised_r101', 'cps_r50', 'rrn_r50'])
def test_every_published_split_has_a_config(method):
    paths = [path for path in PAPERS if path.stem.startswith(f'{method}-')]
    found = sorted(parts(r'_(?:voc12|cityscapes)-(.+)-\d+x\d+$', path)[0] for path in paths)
    sizes = {'blender-': split_schemes.SCHEMES['voc'], '': split_schemes.SCHEMES['cityscapes']}
    expected = [f'classic-{number}' for number in split_schemes.SCHEMES['voc'].classic]
    for prefix, scheme in sizes.items():
        for number, ratio in scheme.ratios.items():
            expected += [f'{prefix}{family}-{ratio}-{number}' for family in ('u2pl', 'cps')]
    assert found == sorted(expected)


def test_network_has_output_stride_8_and_multi_grid():
    backbone = build(load(VOC)).backbone
    dilations = [[block.conv2.dilation[0] for block in backbone.layer3]]
    dilations.append([block.conv2.dilation[0] for block in backbone.layer4])
    assert dilations == [[1] + [2] * 22, [4, 8, 16]]
    backbone.eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, *SIZE))
    assert [feature.shape[2] for feature in features] == [9, 5, 5, 5]


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


@pytest.mark.parametrize(
    ('dataset', 'rate', 'adam'), [('voc12', 0.0025, 1e-4), ('cityscapes', 0.02, 1e-5)]
)
def test_networks_of_rrn(dataset, rate, adam):
    """Output stride 16, one rate for networks, another for discriminators; no grid is set."""
    cfg = load(next(ROOT.glob(f'rrn/rrn_r50-*_{dataset}-*')))
    model = build(cfg).eval()
    for network in model.networks:
        with torch.no_grad():
            features = network.backbone(torch.zeros(1, 3, 64, 64))
        assert [feature.shape[2] for feature in features] == [16, 8, 4, 4]
        assert network.decode_head.dilations == (1, 6, 12, 18)
    parts = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.parts
    groups = {name: part.param_groups for name, part in parts.items()}
    assert {group['lr'] for group in groups['segmentors']} == {rate}
    assert {group['weight_decay'] for group in groups['segmentors']} == {1e-4}
    assert {group['lr'] for group in groups['discriminators']} == {adam}
    assert [d.grid for d in model.discriminators] == [None, None]


def test_the_rate_of_rrn_rises_for_ten_epochs_and_then_is_poly():
    cfg = load(next(ROOT.glob('rrn/rrn_r50-*voc12-classic-1464-*')))
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0025)
    schedulers = [
        PARAM_SCHEDULERS.build({**step, 'optimizer': optimizer}) for step in cfg.param_scheduler
    ]
    rates = []
    for _ in range(20_001):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    poly = [0.0025 * (1 - t / cfg.max_iters) ** 0.9 for t in (0, 5000, 20_000)]
    assert rates[0] == pytest.approx(poly[0] * 1e-3)
    assert rates[5000] == pytest.approx(poly[1] * 5000 / 15_189, rel=0.01)
    assert rates[20_000] == pytest.approx(poly[2], rel=1e-4)


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
