"""Pseudo-labels against hidden masks: counts by hand, and from a tiny model and data set."""

import json
import math
import shutil

import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from conftest import NAMES, scene
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS

from mmseg_u2pl.pseudo_label_quality import (
    PseudoLabelQuality,
    bank_count,
    batches,
    evenly_spaced,
    hidden_mask_dataset,
    load_teacher,
    measure,
)

CLASSES = ('a', 'b', 'c')


def probabilities(label, confidence):
    """(1, 3, 1, W): ``confidence`` on the label, the rest on the next class."""
    prob = torch.zeros(1, 3, 1, len(label))
    for x, (own, top) in enumerate(zip(label, confidence, strict=True)):
        prob[0, own, 0, x] = top
        prob[0, (own + 1) % 3, 0, x] = 1 - top
    return prob


def by_hand():
    """Eight pixels, one of them void and one a pad; class c is never a pseudo-label."""
    truth = [0, 0, 0, 1, 1, 2, 255, 0]
    pseudo = [0, 0, 1, 1, 0, 1, 0, 255]
    kept = [1, 0, 1, 1, 0, 0, 1, 1]
    confidence = [1.0, 0.6, 0.9, 0.8, 0.55, 0.7, 0.9, 0.9]
    quality = PseudoLabelQuality(3, bins=2)
    quality.update(
        torch.tensor([[pseudo]]),
        torch.tensor([[kept]]).bool(),
        probabilities([p % 255 for p in pseudo], confidence),
        torch.tensor([[truth]], dtype=torch.uint8),
    )
    return quality


def test_the_counts_of_kept_and_dropped_pixels():
    quality = by_hand()
    assert quality.confusion[0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert quality.confusion[1].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('truth_share', [3 / 6, 2 / 6, 1 / 6]),
        ('pseudo_share', [3 / 6, 3 / 6, 0]),
        ('kept_share', [1 / 3, 2 / 3, 0]),
        ('precision', [2 / 3, 1 / 3, math.nan]),
        ('recall', [2 / 3, 1 / 2, 0]),
        ('kept_precision', [1, 1 / 2, math.nan]),
        ('kept_recall', [1 / 3, 1 / 2, 0]),
        ('iou', [2 / 4, 1 / 4, 0]),
    ],
)
def test_measures_of_classes(name, expected):
    assert getattr(by_hand(), name).tolist() == pytest.approx(expected, nan_ok=True)


def test_measures_of_all_pixels():
    expected = dict(accuracy=3 / 6, kept_accuracy=2 / 3, dropped_accuracy=1 / 3, share_kept=3 / 6)
    overall = by_hand().overall()
    assert {name: overall[name] for name in expected} == pytest.approx(expected)
    assert overall['mIoU'] == pytest.approx(0.25)


def test_calibration_by_hand():
    quality = PseudoLabelQuality(3, bins=4)
    label, truth = [0, 1, 2, 0, 1], [0, 1, 0, 2, 1]  # right, right, wrong, wrong, right
    prob = probabilities(label, [1.0, 0.8, 0.9, 0.6, 0.5])
    kept = torch.ones(1, 1, 5, dtype=torch.bool)
    quality.update(torch.tensor([[label]]), kept, prob, torch.tensor([[truth]]))
    assert quality.bin_share.tolist() == pytest.approx([0, 0, 2 / 5, 3 / 5])
    assert quality.bin_accuracy.tolist() == pytest.approx(
        [math.nan, math.nan, 1 / 2, 2 / 3], nan_ok=True
    )
    assert quality.bin_confidence[2:].tolist() == pytest.approx([0.55, 0.9])
    assert quality.ece == pytest.approx(2 / 5 * 0.05 + 3 / 5 * (0.9 - 2 / 3))


def test_batches_add_up():
    whole, parts = PseudoLabelQuality(3), PseudoLabelQuality(3)
    prob = torch.randn(4, 3, 5, 6).softmax(1)
    mask = torch.randint(0, 3, (4, 5, 6))
    kept = torch.rand(4, 5, 6) < 0.5
    label = prob.argmax(1)
    whole.update(label, kept, prob, mask)
    for i in range(4):
        parts.update(label[i : i + 1], kept[i : i + 1], prob[i : i + 1], mask[i : i + 1])
    assert parts.as_dict(CLASSES)['confusion'] == whole.as_dict(CLASSES)['confusion']
    assert parts.ece == pytest.approx(whole.ece)


def test_void_images_count_nothing_and_json_has_no_nan():
    quality = PseudoLabelQuality(3)
    void = torch.full((1, 2, 2), 255)
    quality.update(torch.zeros_like(void), void > 0, torch.full((1, 3, 2, 2), 1 / 3), void)
    assert quality.confusion.sum() == 0
    numbers = json.loads(json.dumps(quality.as_dict(CLASSES), allow_nan=False))
    assert numbers['classes']['a']['recall'] is None
    assert numbers['overall']['accuracy'] is None


def test_a_mask_of_another_data_set_is_refused():
    label, mask = torch.zeros(1, 1, 2, dtype=torch.long), torch.tensor([[[0, 7]]])
    prob = torch.full((1, 3, 1, 2), 1 / 3)
    with pytest.raises(ValueError, match=r'holds the label 7.*0 \.\.\. 2'):
        PseudoLabelQuality(3).update(label, label == 0, prob, mask)


@pytest.mark.parametrize(
    ('total', 'num', 'expected'),
    [(10, 3, [0, 3, 6]), (4, 0, [0, 1, 2, 3]), (3, 9, [0, 1, 2]), (4, 4, [0, 1, 2, 3])],
)
def test_images_are_spread_over_the_list(total, num, expected):
    assert evenly_spaced(total, num) == expected


# -------------------------------------------------------------------- a tiny model and data set
@pytest.fixture
def masked_root(own_root):
    """The tiny data set with the unlabeled images' masks in a folder that training never sees."""
    shutil.copytree(own_root / 'masks' / 'train', own_root / 'hidden')
    for name in NAMES['unlabeled']:
        _, mask = scene(sum(name.encode()))
        mask[:3] = 255
        cv2.imwrite(str(own_root / 'hidden' / f'{name}.png'), mask)
    return own_root


@pytest.fixture
def cfg(masked_root, tmp_path):
    return runs.config(masked_root, tmp_path / 'run')


@pytest.fixture
def model(cfg):
    """In the middle of its training: 3 of 6 iterations, 1 of them warm-up."""
    model = MODELS.build(cfg.model)
    model.teacher.copy_from(model)
    model.set_progress(3, 6)
    return model.eval()


def test_the_data_set_holds_the_unlabeled_images_and_their_masks(cfg):
    dataset = hidden_mask_dataset(cfg, 'hidden')
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [info['img_path'].rsplit('/', 1)[1] for info in infos] == [
        f'{name}.png' for name in NAMES['unlabeled']
    ]
    assert '/hidden/' in infos[0]['seg_map_path']
    assert dataset.metainfo['classes'] == tiny.META['classes']


def test_missing_masks_are_named(cfg):
    tiny.assert_raises(
        FileNotFoundError, lambda: hidden_mask_dataset(cfg, 'nowhere'), '--masks nowhere', 'data'
    )
    tiny.assert_raises(
        FileNotFoundError, lambda: hidden_mask_dataset(cfg, 'masks/train'), '--masks', '6 of 12'
    )


def test_a_supervised_config_has_no_unlabeled_images(cfg):
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.labeled
    with pytest.raises(ValueError, match='no unlabeled images'):
        hidden_mask_dataset(cfg, 'hidden')


def test_groups_hold_equal_sizes(cfg, masked_root):
    path = str(masked_root / 'images' / 'train' / 'u3.png')
    image = np.array(cv2.imread(path))
    cv2.imwrite(path, image[:32])
    dataset = hidden_mask_dataset(cfg, 'hidden')
    groups = list(batches(dataset, range(6), 2))
    assert [len(group) for group in groups] == [2, 1, 1, 2]


@pytest.mark.parametrize('kind', ['U2PL', 'U2PLBalanced'])
def test_at_the_images_size_these_are_the_models_own_pseudo_labels(cfg, model, kind):
    if kind == 'U2PLBalanced':  # whose labels are not the arg max of its probabilities
        balanced = MODELS.build({**cfg.model, 'type': kind, 'contrastive': None})
        balanced.load_state_dict(model.state_dict(), strict=False)
        balanced.set_progress(3, 6)
        model = balanced.eval()
    dataset = hidden_mask_dataset(cfg, 'hidden')
    samples = [dataset[index] for index in range(6)]
    images = model.data_preprocessor(dict(inputs=[s['inputs'] for s in samples]))['inputs']
    with torch.no_grad():
        label, low = model.pseudo_labels(images, torch.zeros(6, 40, 48))
        if kind == 'U2PLBalanced':
            usual = low.argmax(1).flatten().mode().values  # predicted far too often, it says
            model.class_share.fill_(1 / 3)
            model.predicted_share.copy_(torch.where(torch.arange(3) == usual, 0.98, 0.01))
            label, _ = model.pseudo_labels(images, torch.zeros(6, 40, 48))
            assert (model.upsample(low, (40, 48)).argmax(1) != label).any()
    quality = measure(model, batches(dataset, range(6), 2))
    mask = torch.cat([s['data_samples'].gt_sem_seg.data for s in samples])
    valid = mask != 255
    expected = torch.bincount((mask * 3 + label)[valid], minlength=9).view(3, 3)
    assert quality.confusion.sum(0).tolist() == expected.tolist()
    # α = 20 % · (1 − 2/5), the recipe's does not fall; void pixels, a thirteenth of all, are part
    # of the percentiles
    kept = dict(U2PL=0.88, U2PLBalanced=0.80)[kind]
    assert quality.overall()['share_kept'] == pytest.approx(kept, abs=0.02)


def test_pads_of_the_preprocessor_and_the_masks_own_size_change_no_pixel_count(cfg, model):
    model.data_preprocessor.test_cfg = dict(size_divisor=32)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(36, 30), keep_ratio=True),
        *runs.TEST_PIPELINE[1:],
    ]
    quality = measure(model, batches(hidden_mask_dataset(cfg, 'hidden'), range(6), 4))
    assert quality.confusion.sum() == 6 * 37 * 48  # three of 40 rows are void


def test_loading_sets_the_progress(cfg, model, tmp_path):
    model.contrastive.bank.count[1] = 5
    path = tmp_path / 'iter_4.pth'
    save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(iter=4)), str(path))
    other = MODELS.build(cfg.model)
    assert load_teacher(other, path, 6) == 4
    assert other.progress == pytest.approx(3 / 5)
    assert not other.training
    assert bank_count(other) == [0, 5, 0]


def test_a_checkpoint_of_the_warm_up_has_no_teacher(cfg, tmp_path):
    model = MODELS.build(cfg.model)
    path = tmp_path / 'iter_1.pth'
    save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(iter=1)), str(path))
    tiny.assert_raises(
        ValueError, lambda: load_teacher(model, path, 6), path, 'saved during the warm-up'
    )
    save_checkpoint(dict(state_dict=model.state_dict()), str(path))
    tiny.assert_raises(ValueError, lambda: load_teacher(model, path, 6), path, 'meta.iter')


def test_a_supervised_model_has_no_pseudo_labels(tmp_path):
    model = MODELS.build(dict(type='EncoderDecoder', **tiny.networks()))
    tiny.assert_raises(
        ValueError, lambda: load_teacher(model, tmp_path / 'a.pth', 6), 'EncoderDecoder', 'U2PL'
    )
    assert bank_count(model) is None


def test_the_command_writes_numbers_and_a_picture(cfg, model, tmp_path, run_tool, capsys):
    config = tmp_path / 'run.py'
    cfg.dump(config)
    paths = [tmp_path / f'iter_{iteration}.pth' for iteration in (6, 3)]
    for iteration, path in zip((6, 3), paths, strict=True):
        save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(iter=iteration)), str(path))
    run_tool('pseudo_labels.py', config, *paths, '--masks', 'hidden', '--num', 4)
    out = tmp_path / 'pseudo_labels'
    report = json.loads((out / 'pseudo_labels.json').read_text())
    assert report['images'] == 4
    assert [one['iteration'] for one in report['checkpoints']] == [3, 6]
    assert report['checkpoints'][1]['overall']['share_kept'] > 0.99  # α has fallen to 0
    assert set(report['checkpoints'][0]['classes']) == {'red', 'green', 'blue'}
    assert (out / 'pseudo_labels.png').stat().st_size > 10_000
    assert 'iteration 6 against hidden masks' in capsys.readouterr().out
