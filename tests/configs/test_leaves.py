"""Names, sizes and splits of the shipped configs; methods share the protocol."""

import re
from pathlib import Path

import pytest
from leaves import FILES, LEAVES, POOL, ROOT, SMALL, SPLITS, Leaf, each_leaf, load, of_data
from mmengine.fileio import load as load_file
from mmseg.registry import DATASETS

METHODS = sorted({path.parent.name for path in FILES})
# What a method may add or replace. Everything else belongs to the protocol.
METHOD_KEYS = {
    'train_dataloader.batch_size',
    'train_dataloader.sampler.ratio',
    'train_dataloader.dataset.unlabeled',
    'auto_scale_lr.base_batch_size',
    'default_hooks.checkpoint.save_best',
    'optim_wrapper.constructor',
    'optim_wrapper.discriminator_optimizer',
    'find_unused_parameters',
    'batch_size',  # a variable, not a setting
    *('supervised', 'u2pl', 'fixmatch', 'fixmatch_balanced', 'mean_teacher', 'cps', 'rrn'),
    *('unimatch', 'unimatch_v2'),
    *('pairs', 'rrn_optimizers'),
}
PARTS = ('labeled', 'unlabeled')
FOLDERS = {
    'voc12': 'VOC2012', 'ade20k': 'ADEChallengeData2016', 'cocostuff164k': 'coco_stuff164k'
}  # fmt: skip
SHARED = ('data_preprocessor', 'backbone', 'neck', 'decode_head', 'auxiliary_head', 'test_cfg')


def test_leaves_are_short():
    lines = {path.name: len(path.read_text().splitlines()) for path in FILES}
    assert {name: number for name, number in lines.items() if number > 12} == {}


@each_leaf
def test_name_says_method_data_and_crop(leaf):
    cfg, crop = load(leaf), leaf.crop
    assert leaf.method.split('-')[0] == leaf.path.parent.name.split('_')[0]
    assert cfg.data_root.endswith(FOLDERS.get(leaf.data, leaf.data))
    assert tuple(cfg.model.data_preprocessor.size) == crop
    for part in filter(None, (cfg.train_dataloader.dataset[key] for key in PARTS)):
        crops = [tuple(step.crop_size) for step in part.pipeline if step.type == 'RandomCrop']
        assert crops == [crop]


def splits_of(leaf, default):
    """All for the first leaf of a network and data set; for the others the default and another."""
    first = next(one for one in of_data(leaf.data) if one.network == leaf.network)
    number = len(SPLITS[leaf.data]) if leaf == first else 2
    return sorted(SPLITS[leaf.data], key=lambda split: split != default)[:number]


@each_leaf
def test_every_split_gives_its_lists_masks_and_length(leaf):
    data, default = leaf.data, load(leaf)
    expected = SPLITS[data]
    assert default.get('split') in (expected or (None,))
    for split in splits_of(leaf, default.get('split')):
        cfg, labeled = load(leaf, split), expected[split]
        parts = cfg.train_dataloader.dataset
        assert parts.labeled.ann_file == f'splits/{split}_labeled.txt'
        assert cfg.num_unlabeled == POOL[data] - labeled
        if parts.unlabeled is not None:
            assert parts.unlabeled.ann_file == f'splits/{split}_unlabeled.txt'
            assert 'seg_map_path' not in parts.unlabeled.data_prefix
        if data == 'voc12':
            masks = 'SegmentationClass' if split.startswith('classic') else 'SegmentationClassAug'
            assert parts.labeled.data_prefix.seg_map_path == masks


@pytest.mark.parametrize('data', ['camvid', 'facade', 'voc_animals'])
def test_all_labels_every_training_image(data):
    assert load(of_data(data)[0], 'all').train_dataloader.dataset.labeled.ann_file == ''


@pytest.mark.parametrize(
    ('data', 'masks'),
    [
        ('voc12', 'SegmentationClassAug'),
        ('cityscapes', 'gtFine/train'),
        ('ade20k', 'annotations/training'),
        ('cocostuff164k', 'annotations/train2017'),
    ],
)
def test_lists_of_a_user_are_as_long_as_the_default(data, masks):
    leaf = of_data(data)[0]
    mine, default = load(leaf, 'mine/1_16'), load(leaf)
    labeled = mine.train_dataloader.dataset.labeled
    assert labeled.ann_file == 'splits/mine/1_16_labeled.txt'
    assert labeled.data_prefix.seg_map_path == masks
    assert mine.train_cfg == default.train_cfg
    assert load(leaf, 'mine-500').num_unlabeled == POOL[data] - 500


def flat(settings, prefix=''):
    """Settings by dotted name."""
    found = {}
    for key, value in settings.items():
        name = f'{prefix}{key}'
        if isinstance(value, dict) and name not in METHOD_KEYS:
            found.update(flat(value, f'{name}.'))
        else:
            found[name] = value
    return found


def protocol_of(leaf):
    """Settings of a config, by dotted name, without what a method may add."""
    settings = flat(load(leaf)._cfg_dict.to_dict())
    return {
        key: value
        for key, value in settings.items()
        if key not in METHOD_KEYS and (not key.startswith('model.') or key.split('.')[1] in SHARED)
    }


def other_methods():
    """Pairs of a leaf and the first leaf of another method on the same network and data."""
    groups: dict[tuple, list[Leaf]] = {}
    for leaf in LEAVES:
        balanced = 'balanced' in leaf.method
        groups.setdefault((leaf.network, leaf.data, leaf.crop, balanced), []).append(leaf)
    for first, *others in groups.values():
        yield from ((first, other) for other in others)


@pytest.mark.parametrize(('first', 'other'), other_methods(), ids=lambda leaf: leaf.name)
def test_methods_differ_in_the_method_alone(first, other):
    assert protocol_of(first) == protocol_of(other)


@pytest.mark.parametrize(
    'leaf',
    [leaf for leaf in of_data(*SMALL) if 'supervised' not in leaf.method],
    ids=lambda leaf: leaf.name,
)
def test_every_small_method_has_a_baseline(leaf):
    balanced = '-balanced' if 'balanced' in leaf.method else ''
    baseline = leaf.path.parents[1] / f'supervised/supervised{balanced}_{leaf.network}_small.py'
    assert leaf._replace(path=baseline, method=f'supervised{balanced}') in LEAVES


def test_balanced_settings_add_class_weights_and_color_after_the_crop():
    for folder in ('supervised', 'fixmatch'):
        plain = load(ROOT / f'{folder}/{folder}_effnet-lite0_small.py')
        cfg = load(ROOT / f'{folder}/{folder}-balanced_effnet-lite0_small.py')
        assert 'custom_hooks' not in plain
        assert cfg.custom_hooks == [dict(type='ClassWeightsHook')]
        steps = [step.type for step in cfg.train_dataloader.dataset.labeled.pipeline]
        color = steps.index('PhotoMetricDistortion')
        assert steps[color - 1] == 'RandomCrop'
        assert steps[:color] + steps[color + 1 :] == [
            step.type for step in plain.train_dataloader.dataset.labeled.pipeline
        ]


@each_leaf
def test_unlabeled_crops_are_not_chosen_by_classes(leaf):
    unlabeled = load(leaf).train_dataloader.dataset.unlabeled
    if unlabeled is not None:
        assert not any('cat_max_ratio' in step for step in unlabeled.pipeline)
        assert 'PhotoMetricDistortion' not in [step.type for step in unlabeled.pipeline]


@each_leaf
def test_hooks_and_loops_are_those_of_the_runtime(leaf):
    cfg, runtime = load(leaf), load(ROOT / '_base_/default_runtime.py')
    assert cfg.default_hooks.keys() == runtime.default_hooks.keys()
    assert cfg.default_hooks.semi_training == dict(type='SemiTrainingHook')
    assert cfg.val_cfg == dict(type='PredictorsValLoop')
    assert cfg.test_cfg == dict(type='PredictorsTestLoop')
    assert cfg.tta_model == dict(type='SegTTAModel')
    assert cfg.tta_pipeline[1].type == 'TestTimeAug'


def test_no_base_but_the_runtime_has_hooks_or_loops():
    for folder in ('datasets', 'models', 'schedules', 'methods'):
        for path in (ROOT / '_base_' / folder).glob('*.py'):
            assert not {'default_hooks', 'custom_hooks', 'val_cfg', 'test_cfg'} & set(load(path)), (
                path.name
            )


@each_leaf
def test_classes_are_those_of_the_data(leaf):
    cfg = load(leaf)
    labeled = cfg.train_dataloader.dataset.labeled
    known = labeled.get('metainfo') or DATASETS.get(labeled.type).METAINFO
    assert cfg.model.decode_head.num_classes == len(known['classes']) == len(known['palette'])
    assert labeled.get('metainfo') == cfg.test_dataloader.dataset.get('metainfo')


@pytest.mark.parametrize('method', METHODS)
def test_index_and_readme_name_every_config(method):
    stems = {path.stem for path in FILES if path.parent.name == method}
    index = load_file(ROOT / method / 'metafile.yml')
    assert {model['Name'] for model in index['Models']} == stems
    assert {Path(model['Config']).stem for model in index['Models']} == stems
    assert all((ROOT.parent / model['Config']).is_file() for model in index['Models'])
    collections = {collection['Name'] for collection in index['Collections']}
    assert {model['In Collection'] for model in index['Models']} == collections
    for model in index['Models']:
        cfg = load(ROOT.parent / model['Config'])
        assert model['Metadata']['Batch Size'] == cfg.auto_scale_lr.base_batch_size
    readme = (ROOT / method / 'README.md').read_text()
    rows = [line for line in readme.splitlines() if '.py)' in line and line.startswith('| [')]
    assert sorted(stems) == sorted(row.split('[')[1].split(']')[0] for row in rows)
    for row in rows:
        cfg = load(ROOT / method / f'{row.split("[")[1].split("]")[0]}.py')
        cells = [cell.strip().replace(' ', '') for cell in row.split('|')]
        assert int(cells[5]) == cfg.train_cfg.max_iters
        gpus, *images = map(int, re.findall(r'\d+', cells[4]))
        assert gpus == cfg.num_gpus
        assert gpus * sum(images) == cfg.auto_scale_lr.base_batch_size


def test_the_model_index_imports_every_method():
    index = load_file(ROOT.parent / 'model-index.yml')
    assert sorted(index['Import']) == [f'configs/{method}/metafile.yml' for method in METHODS]
