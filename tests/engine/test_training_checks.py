"""Data, model and settings are checked against each other before training."""

import warnings
from types import SimpleNamespace

import cross
import pytest
import tiny
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmseg.registry import DATASETS, MODELS
from torch.utils.data import DataLoader

from mmseg_u2pl.datasets import SemiDataset, SemiSampler
from mmseg_u2pl.engine import ClassWeightsHook
from mmseg_u2pl.engine.checks import check_training


def runner(root, batch_size=4, ratio=(1, 1), dataset=None, sampler=None, **model):
    """What ``check_training`` looks at."""
    dataset = tiny.semi_dataset(root) if dataset is None else dataset
    sampler = SemiSampler(dataset, ratio=ratio) if sampler is None else sampler(dataset)
    loader = DataLoader(dataset, batch_size, sampler=sampler, collate_fn=pseudo_collate)
    built = MODELS.build(tiny.u2pl_config(**model))
    return SimpleNamespace(model=built, train_dataloader=loader, hooks=[])


def test_good_data_passes(own_root):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check_training(runner(own_root))


def test_several_labeled_data_sets_as_one_are_checked_like_one(own_root):
    (own_root / 'first.txt').write_text('l0\nl1')
    (own_root / 'second.txt').write_text('l2\nl3')
    parts = [tiny.labeled_config(own_root, ann_file=f'{name}.txt') for name in ('first', 'second')]
    both = dict(type='ConcatDataset', datasets=parts)
    dataset = SemiDataset(both, tiny.unlabeled_config(own_root))
    assert dataset.lengths == (4, 6)
    check_training(runner(own_root, dataset=dataset))
    tiny.set_label(own_root, 9, 'l3')
    tiny.assert_raises(
        ValueError, lambda: check_training(runner(own_root, dataset=dataset)), 'l3.png', 9
    )


# ------------------------------------------------------------------- data, model, sampler
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


def test_sync_bn_on_a_cpu_is_named(own_root):
    backbone = {**tiny.networks()['backbone'], 'norm_cfg': dict(type='SyncBN')}
    tiny.assert_raises(
        ValueError,
        lambda: check_training(runner(own_root, backbone=backbone)),
        'backbone.bn1 is a SyncBatchNorm',
        "norm_cfg=dict(type='BN')",
        "sync_bn='torch'",
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
        f'multiple of {sum(ratio)}',
        f'sampler.ratio {ratio}',
    )


@pytest.mark.parametrize('mix', ['cutmix', 'classmix'])
def test_one_unlabeled_image_makes_mixing_a_no_op_and_warns(own_root, mix):
    with pytest.warns(UserWarning, match=f"mix='{mix}'.*batch has only one.*batch_size"):
        check_training(runner(own_root, 2, mix=mix))


@pytest.mark.parametrize(('size', 'ratio', 'mix'), [(2, (1, 1), 'cutout'), (3, (1, 2), 'cutmix')])
def test_no_warning_where_mixing_works(own_root, size, ratio, mix):
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        check_training(runner(own_root, size, ratio, mix=mix))


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


def test_class_balance_needs_the_hook_that_counts(own_root):
    balanced = runner(own_root, type='U2PLBalanced', contrastive=None)
    tiny.assert_raises(
        ValueError,
        lambda: check_training(balanced),
        'U2PLBalanced',
        "dict(type='ClassWeightsHook')",
    )
    balanced.hooks = [ClassWeightsHook()]
    check_training(balanced)
