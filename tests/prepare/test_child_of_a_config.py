"""Configs of mmseg's zoo become semi-supervised: written, loaded and trained."""

import copy
import re
from functools import cache
from pathlib import Path

import mmseg
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from own_folder import mask, save

from mmseg_u2pl.compat import config_path

ZOO = Path(mmseg.__path__[0]) / '.mim/configs'
pytestmark = pytest.mark.skipif(not ZOO.is_dir(), reason='mmseg is installed without its configs')
PAPERS = {
    'deeplabv3plus': 'deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'segformer': 'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    'upernet': 'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
    'bisenetv2': 'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
}
SMALLER: dict[str, dict] = dict(
    deeplabv3plus=dict(
        backbone=dict(base_channels=16, stem_channels=16),
        decode_head=dict(in_channels=128, c1_in_channels=16, channels=32),
        auxiliary_head=dict(in_channels=64, channels=16),
    ),
    segformer=dict(backbone=dict(embed_dims=16), decode_head=dict(in_channels=[16, 32, 80, 128])),
    upernet=dict(
        backbone=dict(embed_dims=24, depths=[1, 1, 1, 1]),
        decode_head=dict(in_channels=[24, 48, 96, 192], channels=32),
        auxiliary_head=dict(in_channels=96, channels=32),
    ),
    bisenetv2=dict(
        decode_head=dict(channels=64), auxiliary_head={str(i): dict(channels=16) for i in range(4)}
    ),
)
METHODS = dict(deeplabv3plus='u2pl', segformer='cps', upernet='fixmatch_balanced', bisenetv2='u2pl')


def plain_norm(config):
    """BatchNorm in one process, instead of over GPUs."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key == 'type' and value == 'SyncBN':
                config[key] = 'BN'
            plain_norm(value)
    elif isinstance(config, list | tuple):
        for value in config:
            plain_norm(value)


@pytest.fixture(scope='module')
def mine(tmp_path_factory):
    """Eight images of 72×80 to train on, with masks of the first four; two to validate on."""
    root = tmp_path_factory.mktemp('mine')
    rng = np.random.default_rng(0)
    for i in range(8):
        save(root / f'images/i{i}.png', rng.integers(0, 256, (72, 80, 3)))
        if i < 4:
            save(root / f'masks/i{i}.png', mask(0, 1, 255, size=(72, 80)))
        if i < 2:
            save(root / f'val/images/v{i}.png', rng.integers(0, 256, (72, 80, 3)))
            save(root / f'val/masks/v{i}.png', mask(0, 1, 255, size=(72, 80)))
    (root / 'labeled.txt').write_text('i0\ni1\ni2\ni3\n')
    return root


@pytest.fixture(scope='module')
def base(mine, tmp_path_factory):
    """Write a config of the zoo that trains on these images, with small crops and no weights."""

    def write(path, smaller=None, crop=(64, 64), **changes):
        cfg = Config.fromfile(ZOO / path)
        heads = [cfg.model.decode_head, cfg.model.get('auxiliary_head') or []]
        for head in (h for part in heads for h in (part if isinstance(part, list) else [part])):
            head.num_classes = 2
        plain_norm(cfg.model)
        cfg.model.pretrained = None
        cfg.model.backbone.init_cfg = None
        cfg.model.data_preprocessor.size = crop
        cfg.model.test_cfg = dict(mode='whole')
        data: dict = dict(
            type='BaseSegDataset',
            metainfo=dict(classes=('a', 'b')),
            data_root=str(mine),
            data_prefix=dict(img_path='images', seg_map_path='masks'),
            ann_file='labeled.txt',
            img_suffix='.png',
        )
        load: list = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
        train = [*load, dict(type='RandomCrop', crop_size=crop, cat_max_ratio=0.75),
                 dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
                 dict(type='PackSegInputs')]  # fmt: skip
        cfg.train_dataloader = dict(
            batch_size=2, num_workers=0, dataset=dict(data, pipeline=train),
            sampler=dict(type='InfiniteSampler', shuffle=True),
        )  # fmt: skip
        test_pipeline = [*load, dict(type='PackSegInputs')]
        test = dict(data, data_root=str(mine / 'val'), ann_file='', pipeline=test_pipeline)
        cfg.val_dataloader = cfg.test_dataloader = dict(batch_size=1, num_workers=0, dataset=test)
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
        cfg.param_scheduler = []
        cfg.merge_from_dict(dict(model=smaller or {}, **changes))
        path = tmp_path_factory.mktemp('base') / 'base.py'
        cfg.dump(path)
        return path

    return write


@pytest.fixture(scope='module')
def segformer(base):
    return base(PAPERS['segformer'], SMALLER['segformer'])


@pytest.fixture(scope='module')
def child(run_tool, mine, tmp_path_factory):
    """Run the tool; returns the paths of the config and of the baseline that it writes."""

    def run(base, method, unlabeled=mine / 'images'):
        out = tmp_path_factory.mktemp('child') / 'child.py'
        run_tool('make_config.py', '--base', base, '--unlabeled', unlabeled, '--method', method,
                 '--out', out)  # fmt: skip
        return out, out.with_name('child_supervised.py')

    return run


@pytest.fixture(scope='module')
def of_the_zoo(base, child):
    """The child of a network of the zoo, and its baseline."""
    return cache(lambda name: child(base(PAPERS[name], SMALLER[name]), METHODS[name]))


def train(path, work_dir):
    cfg = Config.fromfile(path)
    cfg.work_dir = cfg.experiment_name = cfg.visualizer.name = str(work_dir)
    if 'warmup_iters' in cfg.model:
        cfg.model.warmup_iters = 1  # of two
    if 'contrastive' in cfg.model:
        cfg.model.contrastive.bank_size = 64
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize('name', PAPERS)
def test_networks_of_the_zoo_train(name, of_the_zoo, tmp_path):
    path, _ = of_the_zoo(name)
    cfg = Config.fromfile(path)
    stride = 8 if name == 'deeplabv3plus' else 32
    assert cfg.model.data_preprocessor.grid == dict(stride=stride, offset=0)
    unlabeled = cfg.train_dataloader.dataset.unlabeled
    assert [step['type'] for step in unlabeled.pipeline] == [
        'LoadImageFromFile', 'AddValidityMap', 'RandomCrop', 'RandomFlip', 'PackSegInputs',
    ]  # fmt: skip
    assert 'cat_max_ratio' not in unlabeled.pipeline[2]
    runner = train(path, tmp_path / 'work')
    assert runner.train_dataloader.dataset.lengths == (4, 4)  # labeled images are left out
    scalars = runner.message_hub.log_scalars
    assert scalars[f'val/{cfg.default_hooks.checkpoint.save_best}'].current() >= 0
    assert any(key.startswith(('train/cps.loss', 'train/unsup.loss')) for key in scalars)


def test_the_baseline_trains(of_the_zoo, tmp_path):
    _, path = of_the_zoo('segformer')
    runner = train(path, tmp_path / 'work')
    assert runner.train_dataloader.dataset.lengths == (4, 0)
    assert runner.train_dataloader.batch_size == 2
    assert runner.message_hub.get_scalar('val/mIoU').current() >= 0


def test_a_config_that_inherits_from_mmseg_by_name(segformer, child, tmp_path):
    settings = Config.fromfile(segformer)
    norm = dict(type='BN')
    settings.model = dict(
        pretrained=None,
        backbone=dict(depth=18, stem_channels=8, base_channels=8, norm_cfg=norm),
        neck=dict(in_channels=[8, 16, 32, 64]),
        decode_head=dict(num_classes=2, norm_cfg=norm),
        data_preprocessor=dict(size=(64, 64)),
    )
    path = tmp_path / 'named.py'
    path.write_text("_base_ = 'mmseg::_base_/models/fpn_r50.py'\n" + settings.pretty_text)
    path, _ = child(path, 'fixmatch')
    assert Config.fromfile(path).model.data_preprocessor.grid.stride == 32
    model = train(path, tmp_path / 'work').model
    assert type(model.neck).__name__ == 'FPN'
    assert type(model.decode_head).__name__ == 'FPNHead'
    assert model.decode_head.num_classes == 2


def test_the_tools_take_configs_by_package_name():
    name = '_base_/models/fpn_r50.py'
    assert config_path(f'mmseg::{name}') == ZOO / name
    assert config_path(f'mmseg_u2pl::{name}').parts[-5:-3] == ('.mim', 'configs')
    assert config_path(name) == Path(name)


@pytest.mark.parametrize('flag', [['--iters', 500], ['--crop', 64, 64], ['--seed', 3]])
def test_flags_of_folders_are_refused(segformer, mine, tmp_path, run_tool, refuses, flag):
    path, out = segformer, tmp_path / 'child.py'
    with refuses(f'{flag[0]} does not go with --base'):
        run_tool('make_config.py', '--base', path, '--unlabeled', mine, '--out', out, *flag)


def test_lists_of_the_base_stay(base, child):
    """custom_imports and custom_hooks are lists, which a child replaces."""
    path = base(
        PAPERS['segformer'],
        SMALLER['segformer'],
        custom_imports=dict(imports=['json'], allow_failed_imports=False),
        custom_hooks=[dict(type='EmptyCacheHook')],
        auto_scale_lr=dict(base_batch_size=16),
    )
    cfg = Config.fromfile(child(path, 'fixmatch_balanced')[0])
    assert cfg.custom_imports.imports == ['json', 'mmseg_u2pl']
    assert [hook.type for hook in cfg.custom_hooks] == ['EmptyCacheHook', 'ClassWeightsHook']
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
    cfg = Config.fromfile(child(path, 'cps')[0])
    assert cfg.optim_wrapper.constructor == 'SemiOptimWrapperConstructor'
    assert cfg.train_dataloader.batch_size == 6
    assert cfg.auto_scale_lr.base_batch_size == 16 * 3  # labeled + unlabeled
    assert cfg.train_dataloader.sampler == dict(type='SemiSampler', ratio=(1, 2))


def test_images_that_are_scored_are_left_out(segformer, child, mine, tmp_path):
    for name, folder in (('train', 'images'), ('val', 'val/images')):
        (tmp_path / name).symlink_to(mine / folder)
    path, _ = child(segformer, 'fixmatch', tmp_path)
    listed = Path(Config.fromfile(path).train_dataloader.dataset.unlabeled.ann_file).read_text()
    assert listed.split() == [f'train/i{i}' for i in range(4, 8)]


def test_a_folder_that_holds_masks_is_refused(segformer, child, mine, refuses):
    with refuses(f"{mine}/masks' is in '{mine}': masks would be taken for images"):
        child(segformer, 'fixmatch', mine)


def test_another_folder_leaves_out_nothing(segformer, child, tmp_path, capsys):
    save(tmp_path / 'more/x.png', np.zeros((72, 80, 3)))
    path, _ = child(segformer, 'fixmatch', tmp_path / 'more')
    assert 'child_supervised.py written' in capsys.readouterr().out
    listed = Path(Config.fromfile(path).train_dataloader.dataset.unlabeled.ann_file)
    assert listed == path.with_name('child_unlabeled.txt')
    assert listed.read_text() == 'x\n'


def test_a_cascade_is_refused_by_name(child, refuses):
    with refuses("model.type='CascadeEncoderDecoder'.* one decode head, not a cascade"):
        child(ZOO / 'ocrnet/ocrnet_hr18_4xb4-80k_ade20k-512x512.py', 'u2pl')


def test_a_head_that_returns_more_than_logits_is_refused_by_name(base, child, refuses):
    shallow = dict(backbone=dict(depth=18), decode_head=dict(in_channels=[128, 256, 512]),
                   auxiliary_head=dict(in_channels=256))  # fmt: skip
    path = base('encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py', shallow)
    for method in ('u2pl', 'fixmatch'):
        with refuses('ResNetV1c and EncHead cannot be used.* another decode head'):
            child(path, method)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        (dict(crop=(64, 60)), 'crop_size=(64, 60): the width 60 is not k·32'),
        (dict(align_corners=True), 'is not k·32 + 1'),
        (dict(train_cfg=dict(_delete_=True, by_epoch=True, max_epochs=2)), 'counts epochs'),
    ],
)
def test_what_cannot_work_is_refused(base, child, refuses, changes, says):
    smaller = copy.deepcopy(SMALLER['segformer'])
    smaller['decode_head']['align_corners'] = changes.pop('align_corners', False)
    path = base(PAPERS['segformer'], smaller, **changes)
    with refuses(re.escape(says)):
        child(path, 'u2pl')


@pytest.mark.parametrize('method', ['cps', 'fixmatch'])
def test_the_rules_of_an_optimizer_constructor_stay(base, child, method):
    wrapper = dict(optim_wrapper=dict(constructor='LearningRateDecayOptimizerConstructor'))
    path = base(PAPERS['segformer'], SMALLER['segformer'], **wrapper)
    cfg = Config.fromfile(child(path, method)[0])
    assert cfg.optim_wrapper.constructor == 'SemiOptimWrapperConstructor'
    assert cfg.optim_wrapper.rules == 'LearningRateDecayOptimizerConstructor'


def test_missing_files_are_named(segformer, child, refuses, tmp_path):
    with refuses('No such file'):
        child(tmp_path / 'x.py', 'u2pl')
    (tmp_path / 'x.py').write_text("_base_ = './y.py'\n")
    with refuses('cannot load'):
        child(tmp_path / 'x.py', 'u2pl')
    with refuses('no folder'):
        child(segformer, 'u2pl', tmp_path / 'nowhere')


def test_the_base_is_not_replaced(segformer, mine, tmp_path, run_tool, refuses):
    base = tmp_path / 'x_supervised.py'
    base.write_text(f'_base_ = {str(segformer)!r}\n')
    for out in ('x.py', 'x_supervised.py'):
        with refuses('would replace --base'):
            run_tool('make_config.py', '--base', base, '--unlabeled', mine / 'images',
                     '--method', 'fixmatch', '--out', tmp_path / out, '--force')  # fmt: skip
    assert base.read_text() == f'_base_ = {str(segformer)!r}\n'
    assert not (tmp_path / 'x.py').exists()


def test_validations_are_logged_by_iteration(base, child):
    """mmengine's default logs them at 0."""
    path = base(
        PAPERS['segformer'],
        SMALLER['segformer'],
        default_hooks=dict(logger=dict(log_metric_by_epoch=True)),
    )
    for config in child(path, 'fixmatch'):
        cfg = Config.fromfile(config)
        assert cfg.default_hooks.logger.log_metric_by_epoch is False
        assert cfg.log_processor.by_epoch is False
