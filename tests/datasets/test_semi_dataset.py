"""Two data sets as one: streams, validity maps, and masks that are never read."""

import random

import cv2
import numpy as np
import pytest
import tiny
import torch
from torch.utils.data import DataLoader

from mmseg_u2pl.datasets import SemiDataset

PLAIN = [dict(type='PackSegInputs')]
LOAD_LABELED = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
LOAD_UNLABELED = [dict(type='LoadImageFromFile'), dict(type='AddValidityMap')]


@pytest.fixture(scope='module')
def plain(data_root) -> SemiDataset:
    """Without augmentation."""
    return tiny.semi_dataset(
        data_root,
        dict(pipeline=LOAD_LABELED + PLAIN),
        dict(pipeline=LOAD_UNLABELED + PLAIN),
    )


def read(root, name, folder='images'):
    return cv2.imread(str(root / folder / 'train' / f'{name}.png'), cv2.IMREAD_UNCHANGED)


def test_labeled_samples_come_first_and_each_names_its_stream(data_root, plain):
    assert plain.lengths == (4, 6)
    assert len(plain) == 10
    names = ['l0', 'l1', 'l2', 'l3', 'u0', 'u1', 'u2', 'u3', 'u4', 'u5']
    for index, name in enumerate(names):
        sample = plain[index]
        assert sample['stream'] == ('sup' if name[0] == 'l' else 'unsup')
        image = torch.tensor(read(data_root, name)).permute(2, 0, 1)
        assert torch.equal(sample['inputs'], image), name


def test_labeled_samples_carry_their_mask_and_unlabeled_ones_zeros(data_root, plain):
    mask = plain[2]['data_samples'].gt_sem_seg.data[0]
    assert np.array_equal(mask, read(data_root, 'l2', 'masks'))
    assert set(mask.unique().tolist()) == {0, 1, 2, 255}
    assert not plain[5]['data_samples'].gt_sem_seg.data.any()


def test_metainfo_is_the_labeled_parts(plain):
    assert plain.metainfo['classes'] == tiny.META['classes']
    assert plain.metainfo['palette'] == tiny.META['palette']


def test_pads_of_an_unlabeled_crop_are_255_and_its_image_0(data_root):
    smaller = [
        dict(type='Resize', scale=(24, 20), keep_ratio=True),
        dict(type='Pad', size=(32, 32), pad_val=dict(img=0, seg=255)),
    ]
    dataset = tiny.semi_dataset(
        data_root, unlabeled=dict(pipeline=LOAD_UNLABELED + smaller + PLAIN)
    )
    validity = dataset[4]['data_samples'].gt_sem_seg.data[0]
    expected = torch.full((32, 32), 255)
    expected[:20, :24] = 0
    assert torch.equal(validity.long(), expected)


def test_no_mask_of_an_unlabeled_image_is_ever_read(own_root, data_root):
    for name in ('u0', 'u1', 'u2', 'u3', 'u4', 'u5'):  # reading one of them fails
        (own_root / 'masks' / 'train' / f'{name}.png').write_text('not an image')
    spoiled, clean = tiny.semi_dataset(own_root), tiny.semi_dataset(data_root)
    for index in range(4, 10):
        one, other = spoiled[index, 3], clean[index, 3]
        assert torch.equal(one['inputs'], other['inputs'])
        gt = [sample['data_samples'].gt_sem_seg.data for sample in (one, other)]
        assert torch.equal(*gt)


def test_a_seed_fixes_the_augmentation_and_disturbs_no_other_randomness(data_root):
    dataset = tiny.semi_dataset(data_root)

    def start():
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002 - mmseg's transforms use it

    def draw():
        return random.random(), np.random.rand()  # noqa: NPY002

    start()
    expected = draw()
    start()
    one, same, other = dataset[0, 11], dataset[0, 11], dataset[0, 12]
    assert draw() == expected
    assert torch.equal(one['inputs'], same['inputs'])
    assert one['inputs'].shape != other['inputs'].shape or not torch.equal(
        one['inputs'], other['inputs']
    )


# --------------------------------------------------------------------- supervised baseline
def test_without_unlabeled_part_samples_carry_no_stream(data_root, plain):
    baseline = SemiDataset(tiny.labeled_config(data_root, pipeline=LOAD_LABELED + PLAIN))
    assert baseline.lengths == (4, 0)
    assert len(baseline) == 4
    assert baseline.unlabeled is None
    assert np.array_equal(baseline.labels.counts, plain.labels.counts)
    for index in range(4):
        sample = baseline[index]
        assert sample.keys() == {'inputs', 'data_samples'}
        assert torch.equal(sample['inputs'], plain[index]['inputs'])
    with pytest.raises(IndexError):
        baseline[4]


# -------------------------------------------------------------------------- damaged files
@pytest.mark.parametrize('seed', [None, 3])
def test_a_file_that_cannot_be_loaded_is_named_when_it_is_drawn(own_root, seed):
    dataset = tiny.semi_dataset(own_root)
    image, mask = own_root / 'images' / 'train', own_root / 'masks' / 'train' / 'l2.png'
    (image / 'u1.png').write_text('not an image')
    mask.write_text('not a mask')
    for index, files in ((2, (image / 'l2.png', mask)), (5, (image / 'u1.png',))):
        tiny.assert_raises(
            ValueError,
            lambda index=index: dataset[index if seed is None else (index, seed)],
            'the pipeline fails at the image ',
            *files,
            'tools/check_data.py CONFIG',
        )


def test_a_worker_of_the_data_loader_names_it_too(own_root):
    dataset = tiny.semi_dataset(own_root)
    (own_root / 'images' / 'train' / 'u1.png').write_text('not an image')
    batches = iter(DataLoader(dataset, sampler=[5], num_workers=1, collate_fn=list))
    tiny.assert_raises(ValueError, lambda: next(batches), 'u1.png', 'tools/check_data.py')
    # the error holds the iterator; torch would wait 5 s for the worker
    batches._shutdown_workers()  # type: ignore[attr-defined]
