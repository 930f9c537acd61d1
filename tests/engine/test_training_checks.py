"""Data, model and settings are checked against each other before training."""

import copy
import warnings
from types import SimpleNamespace

import cross
import cv2
import numpy as np
import pytest
import runs
import tiny
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_u2pl.datasets import SemiDataset, SemiSampler, labels
from mmseg_u2pl.datasets.labels import Labels
from mmseg_u2pl.engine import ClassWeightsHook, ProtocolHook, checks
from mmseg_u2pl.engine.checks import check_labels, check_training, scored_datasets
from mmseg_u2pl.models.data_preprocessor import Grid

NORMAL = dict(type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3)


def scored(root, **changes):
    """A data set config of the validation images."""
    prefix = dict(img_path='images/val', seg_map_path='masks/val')
    changes = dict(data_prefix=prefix, ann_file='', pipeline=runs.TEST_PIPELINE, **changes)
    return tiny.labeled_config(root, **changes)


def runner(
    root, batch_size=4, ratio=(1, 1), dataset=None, sampler=None, val=None, test=None, **model
):
    """What ``check_training`` looks at."""
    dataset = tiny.semi_dataset(root) if dataset is None else dataset
    sampler = SemiSampler(dataset, ratio=ratio) if sampler is None else sampler(dataset)
    loader = DataLoader(dataset, batch_size, sampler=sampler, collate_fn=pseudo_collate)
    config = model.pop('model', None) or tiny.u2pl_config(**model)
    built = MODELS.build(dict(data_preprocessor=NORMAL, **config))
    loaders = {
        f'{name}_dataloader': dict(dataset=config)
        for name, config in (('val', val), ('test', test))
        if config
    }
    return SimpleNamespace(
        model=built,
        train_dataloader=loader,
        max_iters=100,
        hooks=[],
        cfg=Config(copy.deepcopy(loaders)),
        **{f'_{name}': value for name, value in loaders.items()},
    )


def baseline(root, **changes):
    """A runner of a supervised baseline: a plain segmentor on the labeled part alone."""
    dataset = SemiDataset(tiny.labeled_config(root))
    model = dict(tiny.networks(), type='EncoderDecoder')
    return runner(root, **{**dict(dataset=dataset, ratio=(1, 0), model=model), **changes})


@pytest.mark.parametrize('build', [runner, baseline])
def test_good_data_passes(own_root, build):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        warnings.filterwarnings('ignore', '``build_loss``')  # upstream mmseg's, of itself
        check_training(build(own_root, val=scored(own_root), test=scored(own_root)))


# -------------------------------------------------------------------------------- windows
@pytest.mark.parametrize(
    ('crop_size', 'message'),
    [((40, 41), 'the height 40 is'), ((33, 20), 'the width 20 is'), ((33, 41), None)],
)
def test_windows_off_the_grid_are_refused_with_the_nearest(own_root, crop_size, message):
    one = runner(own_root)
    one.model.data_preprocessor.grid = Grid(8, 1)
    one.model.test_cfg = dict(mode='slide', crop_size=crop_size, stride=(20, 20))
    if message is None:
        check_training(one)
        return
    near = f'use {Grid(8, 1).nearest(min(crop_size))}'
    setting = f'model.test_cfg.crop_size={crop_size}: {message} not k·8 + 1'
    tiny.assert_raises(ValueError, lambda: check_training(one), setting, near)
    one.model.test_cfg = dict(mode='whole')
    check_training(one)


# ---------------------------------------------------------------------------------- files
@pytest.mark.parametrize('build', [runner, baseline])
@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_files_of_all_data_sets_are_checked(own_root, build, part):
    name = 'l1' if part == 'train' else 'v1'
    split = 'train' if part == 'train' else 'val'
    path = own_root / 'images' / split / f'{name}.png'
    path.write_text('not an image')
    parts = {} if part == 'train' else {part: scored(own_root)}
    where = f'{part}_dataloader.dataset'
    tiny.assert_raises(ValueError, lambda: check_training(build(own_root, **parts)), where, path)
    (own_root / 'masks' / split / f'{name}.png').unlink()
    tiny.assert_raises(FileNotFoundError, lambda: check_training(build(own_root, **parts)), where)


def test_a_test_set_is_built_once_and_that_of_the_validation_not_at_all(own_root):
    one = runner(own_root, val=scored(own_root), test=scored(own_root))
    found = scored_datasets(one)
    assert list(found) == ['val']
    assert len(found['val']) == 3
    other = runner(own_root, test=scored(own_root))
    dataset = scored_datasets(other)['test']
    assert scored_datasets(other)['test'] is dataset
    assert other._test_dataloader['dataset'] is dataset  # the test loop takes it
    tiny.assert_raises(
        FileNotFoundError,
        lambda: scored_datasets(runner(own_root, test=scored(own_root, data_root='no'))),
        'test_dataloader.dataset.data_root',
    )


def test_each_header_and_each_labeled_mask_is_read_once_by_checks_and_hooks(own_root, monkeypatch):
    headers, masks = [], []
    really_open, read = Image.open, labels.read_labels

    def counted(info, load):
        masks.append(info['seg_map_path'])
        return read(info, load)

    def opened(file):
        headers.extend([file] if isinstance(file, str) else [])  # not what a loading step decodes
        return really_open(file)

    monkeypatch.setattr(Image, 'open', opened)
    monkeypatch.setattr(labels, 'read_labels', counted)
    one = runner(own_root, val=scored(own_root), test=scored(own_root))
    one.logger = SimpleNamespace(info=lambda _: None)
    one.message_hub = SimpleNamespace(update_info=lambda *_: None)
    one.iter = 0
    check_training(one)
    ProtocolHook().before_train(one)
    ClassWeightsHook().before_train(one)
    assert len(set(headers)) == len(headers) == 4 + 4 + 6 + 3 + 3
    assert len(set(masks)) == len(masks) == 4 + 3


# --------------------------------------------------------------------------------- labels
@pytest.mark.parametrize('build', [runner, baseline])
@pytest.mark.parametrize('value', [3, 100, 254])
def test_a_label_beyond_the_classes_is_named_with_its_file(own_root, build, value):
    tiny.set_label(own_root, value)
    tiny.assert_raises(
        ValueError,
        lambda: check_training(build(own_root)),
        own_root / 'masks' / 'train' / 'l2.png',
        f'the label {value}',
        'classes 0 ... 2',
        'decode_head.num_classes',
    )


@TRANSFORMS.register_module()
class MapIds(BaseTransform):
    """A user's: labels above the classes become 255."""

    def transform(self, results):
        results['gt_seg_map'][results['gt_seg_map'] > 2] = 255
        return results


def test_labels_that_a_transform_may_map_are_warned_of(own_root):
    cv2.imwrite(str(own_root / 'masks/train/l1.png'), np.full((40, 48), 9, np.uint8))
    tiny.assert_raises(ValueError, lambda: check_training(runner(own_root)), 'holds the label 9')
    made = runner(own_root)
    made.train_dataloader.dataset.labeled.pipeline.transforms.insert(2, MapIds())
    with pytest.warns(UserWarning, match='unless MapIds changes the labels: .*holds the label 9'):
        check_training(made)


def test_a_binary_mask_of_0_and_255_is_not_taken_for_foreground_and_ignore(own_root):
    # 255 alone beside 0 in every mask: two classes, the second of which has no pixel
    for path in (own_root / 'masks' / 'train').iterdir():
        mask = np.zeros((40, 48), np.uint8)
        mask[10:20] = 255
        cv2.imwrite(str(path), mask)
    classes = ('no', 'yes')
    labels = tiny.semi_dataset(own_root).labels
    tiny.assert_raises(
        ValueError,
        lambda: check_labels(labels, 2, classes),
        own_root / 'masks' / 'train' / 'l0.png',
        '255',
        '0/255 mask needs 255 → 1',
    )
    # the remedy that the message gives
    step = dict(type='LoadMask', values={0: 0, 255: 1})
    pipeline = [dict(type='LoadImageFromFile'), step]
    labels = tiny.semi_dataset(own_root, labeled=dict(pipeline=pipeline)).labels
    check_labels(labels, 2, classes)
    assert labels.counts[:2].tolist() == [4 * 30 * 48, 4 * 10 * 48]


def test_a_test_set_may_show_class_0_alone():
    labels = Labels(np.array([9, 0, 0] + [0] * 252 + [3]), {0: 'a.png', 255: 'a.png'})
    check_labels(labels, 3)  # scored
    for num_classes, classes in ((2, ''), (3, 'abc')):
        tiny.assert_raises(
            ValueError, lambda n=num_classes, c=classes: check_labels(labels, n, c), 'a.png'
        )
    nothing = Labels(np.array([0] * 255 + [3]), {255: 'a.png'})
    tiny.assert_raises(ValueError, lambda: check_labels(nothing, 3), 'a.png')


def test_one_labeled_image_and_a_head_that_averages_all_of_it(own_root):
    head = dict(
        type='ASPPHead',
        in_channels=8,
        channels=8,
        num_classes=3,
        dilations=(1, 2),
        norm_cfg=dict(type='BN'),
    )
    says = 'decode_head (ASPPHead)', 'batch_size=2'
    check_training(runner(own_root, 4, decode_head=head))
    tiny.assert_raises(
        ValueError,
        lambda: check_training(runner(own_root, 2, decode_head=head, warmup_iters=1)),
        *says,
    )
    # without a warm-up the head always sees both streams
    check_training(runner(own_root, 2, decode_head=head, warmup_iters=0))


def test_a_problem_of_one_process_ends_all(own_root, monkeypatch):
    other = ['train_dataloader.dataset.labeled: a.png is too small']
    monkeypatch.setattr(checks, 'all_gather_object', lambda found: [found, other])
    tiny.assert_raises(ValueError, lambda: check_training(runner(own_root)), 'a.png is too small')


def test_labels_count_after_the_data_sets_mapping(own_root):
    # reduce_zero_label: 0 → 255, 1 ... 3 → 0 ... 2
    tiny.set_label(own_root, 3)
    labels = tiny.semi_dataset(own_root, labeled=dict(reduce_zero_label=True)).labels
    check_labels(labels, 3, 'abc')
    tiny.assert_raises(ValueError, lambda: check_labels(labels, 2, 'ab'), 'the label 2')


def test_a_class_without_labeled_pixels_is_warned_of(own_root):
    for path in (own_root / 'masks' / 'train').iterdir():
        labels = np.array(cv2.imread(str(path), 0))
        labels[labels == 1] = 0
        cv2.imwrite(str(path), labels)
    with pytest.warns(UserWarning, match='no labeled pixel of green: 1 of 3 classes'):
        check_training(runner(own_root))


def test_several_labeled_data_sets_as_one_are_checked_like_one(own_root):
    (own_root / 'first.txt').write_text('l0\nl1')
    (own_root / 'second.txt').write_text('l2\nl3')
    parts = [tiny.labeled_config(own_root, ann_file=f'{name}.txt') for name in ('first', 'second')]
    both = dict(type='ConcatDataset', datasets=parts)
    unlabeled = tiny.unlabeled_config(own_root)
    dataset = SemiDataset(both, unlabeled)
    assert dataset.lengths == (4, 6)
    check_training(runner(own_root, dataset=dataset))
    tiny.set_label(own_root, 9, 'l3')
    dataset = SemiDataset(both, unlabeled)
    tiny.assert_raises(
        ValueError, lambda: check_training(runner(own_root, dataset=dataset)), 'l3.png', 9
    )


# ------------------------------------------------------------------- data, model, sampler
def test_the_models_check_is_called(own_root):
    one = runner(own_root)
    calls: list = []
    one.model.check = calls.append
    check_training(one)
    assert calls == [one]


def test_a_wrong_number_of_classes_of_an_auxiliary_head_is_named(own_root):
    for build, kind in ((runner, tiny.u2pl_config(aux=True)), (baseline, tiny.networks(aux=True))):
        config = {'type': 'EncoderDecoder', **kind}
        config['auxiliary_head']['num_classes'] = 19
        tiny.assert_raises(
            ValueError,
            lambda build=build, config=config: check_training(build(own_root, model=config)),
            'auxiliary_head.num_classes=19',
            'num_classes=3',
        )


def test_an_auxiliary_head_of_another_task_is_not_checked(own_root):
    config = {'type': 'EncoderDecoder', **tiny.networks(aux=True)}
    config['auxiliary_head'].update(num_classes=2, out_channels=1)
    config['auxiliary_head']['loss_decode'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
    check_training(baseline(own_root, model=config))


def test_a_method_needs_unlabeled_images_and_a_plain_segmentor_takes_none(own_root):
    dataset = SemiDataset(tiny.labeled_config(own_root))
    tiny.assert_raises(
        ValueError,
        lambda: check_training(runner(own_root, dataset=dataset, ratio=(1, 0))),
        'U2PL needs unlabeled images',
        'ratio=(1, 1)',
    )
    dataset = tiny.semi_dataset(own_root)
    tiny.assert_raises(
        ValueError,
        lambda: check_training(baseline(own_root, dataset=dataset, ratio=(1, 1))),
        'EncoderDecoder takes no unlabeled images, but a batch has 2',
        'unlabeled=None and ratio=(1, 0)',
    )


def test_unlabeled_images_that_make_no_pairs_are_named(own_root):
    wrong = runner(own_root, batch_size=4, ratio=(1, 3))  # 1 labeled, 3 unlabeled
    wrong.model = cross.build()
    tiny.assert_raises(
        ValueError,
        lambda: check_training(wrong),
        'CrossPseudo takes unlabeled images in groups of 2',
        'a batch has 3',
        'sampler.ratio=(1, 3)',
    )


def test_a_wrong_number_of_classes_is_named(own_root):
    tiny.assert_raises(
        ValueError,
        lambda: check_training(runner(own_root, num_classes=4)),
        'decode_head.num_classes=4',
        '3 classes (red, green, blue)',
        'num_classes=3',
    )


def test_a_data_set_without_class_names_is_named(own_root):
    dataset = tiny.semi_dataset(own_root, labeled=dict(metainfo=None))
    tiny.assert_raises(
        ValueError, lambda: check_training(runner(own_root, dataset=dataset)), 'metainfo'
    )


@pytest.mark.parametrize(('size', 'ratio'), [(3, (1, 1)), (4, (1, 2)), (5, (2, 3))])
def test_a_batch_that_breaks_the_ratio_is_named(own_root, size, ratio):
    if size % sum(ratio) == 0:
        check_training(runner(own_root, size, ratio))
        return
    tiny.assert_raises(
        ValueError,
        lambda: check_training(runner(own_root, size, ratio)),
        f'train_dataloader.batch_size={size}',
        f'not a multiple of {sum(ratio)}',
        f'sampler.ratio {ratio}',
    )


def test_another_data_set_or_sampler_is_refused_with_the_remedy(own_root):
    plain = DATASETS.build(tiny.labeled_config(own_root))
    tiny.assert_raises(
        TypeError,
        lambda: check_training(runner(own_root, dataset=plain, sampler=DefaultSampler)),
        'BaseSegDataset',
        "dict(type='SemiDataset'",
    )
    tiny.assert_raises(
        TypeError,
        lambda: check_training(runner(own_root, sampler=DefaultSampler)),
        'DefaultSampler',
        "dict(type='SemiSampler', ratio=(1, 1))",
    )
