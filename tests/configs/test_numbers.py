"""Iterations, learning rates and batches of the published protocols."""

import math

import pytest
import torch
from leaves import POOL, ROOT, SPLITS, each_leaf, load, of_data
from mmseg.registry import PARAM_SCHEDULERS

# Iterations of the authors' runs at 16 + 16 images a step, where they are known.
PUBLISHED_ITERATIONS = {
    'voc12': {92: 52_400, 1464: 45_600, 662: 49_600, 5291: 26_400},
    'cityscapes': {186: 34_800, 744: 27_800, 1488: 18_600},
}
# Epochs of RRN's script (VOC) and of CPS (Cityscapes); those of the classic splits are ours.
CROSS_EPOCHS = {
    **{662: 32, 1323: 34, 2646: 40, 5291: 60},
    **{92: 30, 183: 30, 366: 31, 732: 32, 1464: 35},
    **{186: 128, 372: 137, 744: 160, 1488: 240},
}
GPUS = {  # GPUs and labeled images on each
    ('u2pl', 'voc12'): (4, 4), ('u2pl', 'cityscapes'): (8, 2),
    ('rrn', 'voc12'): (2, 3), ('rrn', 'cityscapes'): (4, 2),
}  # fmt: skip
WINDOWS = {'voc12': (None, (341, 341)), 'cityscapes': ((513, 513), (533, 533))}  # U²PL, RRN
DINOV2 = {  # UniMatch V2's labeled images on each of four GPUs, and epochs
    'voc12': (4, 60), 'cityscapes': (2, 180), 'ade20k': (2, 60), 'cocostuff164k': (4, 20)
}  # fmt: skip


def ratio_of(path):
    """Labeled and unlabeled images of a step of one process, in units of the labeled ones."""
    return {'supervised': (1, 0), 'cps': (1, 2), 'rrn': (1, 2)}.get(path.parent.name, (1, 1))


@each_leaf
def test_batch(leaf):
    cfg, ratio = load(leaf), ratio_of(leaf.path)
    assert tuple(cfg.train_dataloader.sampler.ratio) == ratio
    assert cfg.train_dataloader.sampler.type == 'SemiSampler'
    assert cfg.train_dataloader.batch_size == cfg.labeled_per_gpu * sum(ratio)
    images = cfg.num_gpus * cfg.train_dataloader.batch_size
    assert cfg.auto_scale_lr == dict(base_batch_size=images)


@each_leaf
def test_validation_and_checkpoints(leaf):
    cfg, path = load(leaf), leaf.path
    assert cfg.default_hooks.checkpoint.interval == cfg.train_cfg.val_interval
    assert cfg.train_cfg.type == 'IterBasedTrainLoop'
    validations = math.ceil(cfg.train_cfg.max_iters / cfg.train_cfg.val_interval)
    assert validations == 10
    first = {'supervised': 'mIoU', 'cps': 'mean/mIoU', 'rrn': 'mean/mIoU'}.get(
        path.parent.name, 'teacher/mIoU' if cfg.model.get('teacher') else 'student/mIoU'
    )
    assert cfg.default_hooks.checkpoint.save_best == first


@pytest.mark.parametrize(
    'leaf',
    [leaf for leaf in of_data(*DINOV2) if 'dinov2' in leaf.network],
    ids=lambda leaf: leaf.name,
)
def test_length_of_unimatch_v2(leaf):
    images, epochs = DINOV2[leaf.data]
    for split, labeled in SPLITS[leaf.data].items():
        cfg = load(leaf, split)
        assert (cfg.num_gpus, cfg.labeled_per_gpu) == (4, images)
        epoch = math.ceil((POOL[leaf.data] - labeled) / 4) // images
        assert cfg.train_cfg.max_iters == epochs * epoch
    assert [step.type for step in cfg.param_scheduler] == ['PolyLR']
    stride = (532, 532) if leaf.data == 'cityscapes' else None
    assert cfg.model.test_cfg.get('stride') == stride
    assert cfg.model.backbone.get('frozen', False) == (leaf.data == 'ade20k')


@pytest.mark.parametrize(
    'leaf',
    [leaf for leaf in of_data('voc12', 'cityscapes') if 'dinov2' not in leaf.network],
    ids=lambda leaf: leaf.name,
)
def test_length_of_the_papers(leaf):
    """An epoch is one over the unlabeled list: each GPU takes its share, rounded up."""
    data, crossed = leaf.data, leaf.network == 'r50-d16'
    for split, labeled in SPLITS[data].items():
        cfg = load(leaf, split)
        gpus, images = GPUS['rrn' if crossed else 'u2pl', data]
        assert (cfg.num_gpus, cfg.labeled_per_gpu) == (gpus, images)
        epoch = math.ceil((POOL[data] - labeled) / gpus) // images
        epochs = CROSS_EPOCHS[labeled] if crossed else {'voc12': 80, 'cityscapes': 200}[data]
        assert cfg.train_cfg.max_iters == epochs * epoch
        if not crossed:
            published = PUBLISHED_ITERATIONS[data].get(labeled, cfg.max_iters)
            assert cfg.max_iters == published
        warmups = [step.end for step in cfg.param_scheduler if step.type == 'LinearLR']
        assert warmups == ([10 * epoch] if crossed else [])
        assert not any('end' in step for step in cfg.param_scheduler if step.type == 'PolyLR')
        if cfg.model.type == 'U2PL':
            assert cfg.model.warmup_iters == (epoch if data == 'voc12' else 0)
        if cfg.model.type == 'RRN':
            assert cfg.model.selftrain_warmup_iters == epoch
    assert cfg.sync_bn == 'torch'
    assert cfg.model.test_cfg.get('stride') == WINDOWS[data][crossed]


@pytest.mark.parametrize(
    'leaf', of_data('camvid', 'facade', 'voc_animals'), ids=lambda leaf: leaf.name
)
def test_length_on_a_cpu(leaf):
    cfg = load(leaf)
    length = 5000 if leaf.data == 'voc_animals' else 1200
    passes = length * 4 / (POOL[leaf.data] - SPLITS[leaf.data][cfg.split])
    assert passes > 9  # over the unlabeled images
    assert cfg.train_cfg.max_iters == length
    if leaf.path.parent.name in ('u2pl', 'fixmatch'):
        assert cfg.model.warmup_iters == length // 4
    if leaf.method == 'rrn':
        epoch = {'camvid': 86, 'facade': 129, 'voc_animals': 486}[leaf.data]
        assert cfg.model.selftrain_warmup_iters == epoch


def test_the_rate_of_rrn_rises_for_ten_epochs_and_then_is_poly():
    cfg = load(ROOT / 'rrn/rrn_r50-d16_voc12-512x512.py')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.0025)
    schedulers = [  # a scheduler without an end gets max_iters from the runner
        PARAM_SCHEDULERS.build({'end': cfg.max_iters, **step, 'optimizer': optimizer})
        for step in cfg.param_scheduler
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


def test_a_filter_of_rrn_weighs_as_much_as_cps():
    for path in ROOT.glob('rrn/rrn-filter_*.py'):
        ours = load(path).model
        plain = load(ROOT / 'cps' / path.name.replace('rrn-filter', 'cps')).model
        assert ours.target == 'cross'
        assert ours.cps_weight + 2 * ours.selection_weight == plain.cps_weight
