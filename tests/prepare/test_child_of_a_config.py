"""Configs of mmseg's zoo become semi-supervised: written, loaded and trained."""

import copy
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
    deeplabv3plus=dict(),
    segformer=dict(backbone=dict(embed_dims=16), decode_head=dict(in_channels=[16, 32, 80, 128])),
    upernet=dict(backbone=dict(depths=[1, 1, 1, 1]), decode_head=dict(channels=32)),
    bisenetv2=dict(decode_head=dict(channels=64)),
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


@pytest.fixture
def base(mine, tmp_path):
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
        cfg.dump(tmp_path / 'base.py')
        return tmp_path / 'base.py'

    return write


@pytest.fixture
def child(run_tool, mine, tmp_path, capsys):
    """Run the tool; returns the paths that it wrote."""

    def run(base, method, unlabeled=mine / 'images'):
        run_tool('make_config.py', '--base', base, '--unlabeled', unlabeled, '--method', method,
                 '--out', tmp_path / 'child.py', '--force')  # fmt: skip
        assert 'child_supervised.py written' in capsys.readouterr().out
        return tmp_path / 'child.py', tmp_path / 'child_supervised.py'

    return run


def train(path, work_dir):
    cfg = Config.fromfile(path)
    cfg.work_dir = cfg.experiment_name = cfg.visualizer.name = str(work_dir)
    if 'warmup_iters' in cfg.model:
        cfg.model.warmup_iters = 1  # of two
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize('name', PAPERS)
def test_networks_of_the_zoo_train(name, base, child, tmp_path):
    path, _ = child(base(PAPERS[name], SMALLER[name]), METHODS[name])
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


def test_the_baseline_trains(base, child, tmp_path):
    _, path = child(base(PAPERS['segformer'], SMALLER['segformer']), 'fixmatch')
    runner = train(path, tmp_path / 'work')
    assert runner.train_dataloader.dataset.lengths == (4, 0)
    assert runner.train_dataloader.batch_size == 2
    assert runner.message_hub.get_scalar('val/mIoU').current() >= 0


def test_a_config_that_inherits_from_mmseg_by_name(base, child, tmp_path):
    settings = Config.fromfile(base(PAPERS['segformer']))
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


def test_images_that_are_scored_are_left_out(base, child, mine):
    path, _ = child(base(PAPERS['segformer'], SMALLER['segformer']), 'fixmatch', mine)
    listed = Path(Config.fromfile(path).train_dataloader.dataset.unlabeled.ann_file).read_text()
    assert 'images/' in listed
    assert 'val/images' not in listed


def test_another_folder_leaves_out_nothing(base, child, tmp_path):
    save(tmp_path / 'more/x.png', np.zeros((72, 80, 3)))
    path = base(PAPERS['segformer'], SMALLER['segformer'])
    cfg = Config.fromfile(child(path, 'fixmatch', tmp_path / 'more')[0])
    path = Path(cfg.train_dataloader.dataset.unlabeled.ann_file)
    assert path == tmp_path / 'child_unlabeled.txt'
    assert path.read_text() == 'x\n'


def refused(base, child, capsys, method='u2pl'):
    with pytest.raises(SystemExit) as caught:
        child(base, method)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith('error: ')
    assert message.count('\n') == 1
    return message


def test_a_cascade_is_refused_by_name(child, capsys):
    base = ZOO / 'ocrnet/ocrnet_hr18_4xb4-80k_ade20k-512x512.py'
    message = refused(base, child, capsys)
    assert "model.type='CascadeEncoderDecoder'" in message
    assert 'one decode head, not a cascade' in message


def test_a_head_that_returns_more_than_logits_is_refused_by_name(base, child, capsys):
    shallow = dict(backbone=dict(depth=18), decode_head=dict(in_channels=[128, 256, 512]),
                   auxiliary_head=dict(in_channels=256))  # fmt: skip
    path = base('encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py', shallow)
    for method in ('u2pl', 'fixmatch'):
        message = refused(path, child, capsys, method)
        assert 'ResNetV1c and EncHead cannot be used' in message
        assert 'another decode head' in message


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        (dict(crop=(64, 60)), 'crop_size=(64, 60): the width 60 is not k·32'),
        (dict(align_corners=True), 'is not k·32 + 1'),
        (dict(train_cfg=dict(_delete_=True, by_epoch=True, max_epochs=2)), 'counts epochs'),
    ],
)
def test_what_cannot_work_is_refused(base, child, capsys, changes, says):
    smaller = copy.deepcopy(SMALLER['segformer'])
    smaller['decode_head']['align_corners'] = changes.pop('align_corners', False)
    assert says in refused(base(PAPERS['segformer'], smaller, **changes), child, capsys)


@pytest.mark.parametrize('method', ['cps', 'fixmatch'])
def test_the_rules_of_an_optimizer_constructor_stay(base, child, method):
    wrapper = dict(optim_wrapper=dict(constructor='LearningRateDecayOptimizerConstructor'))
    path = base(PAPERS['segformer'], SMALLER['segformer'], **wrapper)
    cfg = Config.fromfile(child(path, method)[0])
    assert cfg.optim_wrapper.constructor == 'SemiOptimWrapperConstructor'
    assert cfg.optim_wrapper.rules == 'LearningRateDecayOptimizerConstructor'


def test_missing_files_are_named(base, child, capsys, tmp_path):
    assert 'No such file' in refused(tmp_path / 'x.py', child, capsys)
    (tmp_path / 'x.py').write_text("_base_ = './y.py'\n")
    assert 'cannot load' in refused(tmp_path / 'x.py', child, capsys)
    path = base(PAPERS['segformer'])
    with pytest.raises(SystemExit):
        child(path, 'u2pl', tmp_path / 'nowhere')
    assert 'no folder' in capsys.readouterr().err
