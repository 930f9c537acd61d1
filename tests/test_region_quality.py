"""Accepted regions against hidden masks: counts by hand, and from a tiny model and data set."""

import json
import math
import shutil

import cross
import cv2
import pytest
import tiny
import torch
from conftest import NAMES, scene
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS

from mmseg_u2pl.pseudo_label_quality import hidden_mask_dataset
from mmseg_u2pl.region_quality import (
    RegionMeasurement,
    RegionQuality,
    crops_with_masks,
    load_rrn,
    measure_regions,
    region_table,
)


def by_hand():
    """Two regions side by side, of four pixels each; one pixel is void."""
    label = torch.tensor([[[0, 1, 2, 2], [0, 1, 0, 0]]])
    truth = torch.tensor([[[0, 1, 2, 1], [0, 0, 1, 255]]])  # right: 3 of 4 and 1 of 3
    left = torch.tensor([[[1.0, 1.0, 0.0, 0.0]] * 2])
    nothing = torch.zeros_like(left)
    scores = torch.tensor([[[[0.7, 0.2]]]]), torch.tensor([[[[0.1, 0.3]]]])
    quality = RegionQuality()
    quality.update(label, truth, torch.stack((left, nothing, 1 - left)), scores)
    return quality


def test_accuracy_inside_and_outside_by_hand():
    expected = dict(
        accuracy=4 / 7,
        own_share=4 / 7, own_accepted=3 / 4, own_rest=1 / 3,
        crossed_share=0, crossed_accepted=math.nan, crossed_rest=4 / 7,
        both_share=3 / 7, both_accepted=1 / 3, both_rest=3 / 4,
        own_upper=3 / 4, own_lower=1 / 3, crossed_upper=1 / 3, crossed_lower=3 / 4,
    )  # fmt: skip
    assert by_hand().overall() == pytest.approx(expected, nan_ok=True)


def test_batches_add_up():
    quality = by_hand()
    label = torch.ones(1, 2, 4, dtype=torch.long)
    votes = torch.ones(3, 1, 2, 4)
    middle = torch.tensor([[[[0.5]]]])  # right everywhere
    quality.update(label, label, votes, (middle, middle))
    overall = quality.overall()
    assert overall['accuracy'] == pytest.approx(12 / 15)
    assert overall['own_accepted'] == pytest.approx(11 / 12)
    assert overall['own_rest'] == pytest.approx(1 / 3)
    # of three regions the one in the middle is in neither half
    assert overall['own_upper'] == pytest.approx(3 / 4)
    assert overall['crossed_upper'] == 1


def test_regions_of_void_alone_are_in_no_half():
    quality = RegionQuality()
    label = torch.zeros(1, 2, 4, dtype=torch.long)
    truth = torch.full_like(label, 255)
    score = torch.tensor([[[[0.7, 0.2]]]])
    quality.update(label, truth, torch.ones(3, 1, 2, 4), (score, score))
    assert all(math.isnan(value) for value in quality.overall().values())


# -------------------------------------------------------------------- a tiny model and data set
@pytest.fixture
def cfg(own_root, tmp_path):
    """A config of RRN, and masks of its unlabeled images in a folder that training never sees."""
    shutil.copytree(own_root / 'masks' / 'train', own_root / 'hidden')
    for name in NAMES['unlabeled']:
        _, mask = scene(sum(name.encode()))
        cv2.imwrite(str(own_root / 'hidden' / f'{name}.png'), mask)
    return cross.runner(own_root, tmp_path / 'run').cfg


def test_crops_are_those_of_training_with_masks(cfg):
    kinds = [step['type'] for step in crops_with_masks(cfg).test_dataloader.dataset.pipeline]
    assert kinds == [
        'LoadImageFromFile', 'LoadAnnotations', 'RandomResize', 'RandomCrop', 'RandomFlip',
        'PackSegInputs',
    ]  # fmt: skip
    assert 'cat_max_ratio' not in crops_with_masks(cfg).test_dataloader.dataset.pipeline[3]
    assert 'RandomCrop' not in [step['type'] for step in cfg.test_dataloader.dataset.pipeline]


@pytest.mark.parametrize('target', ['self', 'cross'])
def test_a_measurement_is_the_selection_of_a_training_step(cfg, target):
    """The same crops and boxes through ``cross_step``, in evaluation mode."""
    model = cross.build(
        'RRN', target=target, threshold=0.5, data_preprocessor=cfg.model.data_preprocessor
    ).eval()
    torch.nn.init.normal_(model.discriminators[0].classifier.weight, std=50.0)
    torch.nn.init.normal_(model.discriminators[1].classifier.weight, std=50.0)
    crops = crops_with_masks(cfg)
    crops.test_dataloader.dataset.pipeline[2].ratio_range = (1.0, 1.5)  # no pads
    dataset = hidden_mask_dataset(crops, 'hidden')
    samples = [dataset[index] for index in range(4)]
    quality = measure_regions(model, [samples], torch.Generator().manual_seed(7)).overall()

    stacked = {key: [s[key] for s in samples] for key in ('inputs', 'data_samples')}
    stream = model.data_preprocessor(stacked, True)
    truth = torch.cat([s.gt_sem_seg.data for s in stream['data_samples']])
    for sample in stream['data_samples']:  # a validity map, as training has
        sample.gt_sem_seg.data = torch.zeros_like(sample.gt_sem_seg.data)
    labeled, labeled_samples = tiny.batch(2, 4)
    inputs = {'sup': labeled['sup'], 'unsup': stream['inputs']}
    torch.manual_seed(7)
    both = {'sup': labeled_samples['sup'], 'unsup': stream['data_samples']}
    _, made = model.cross_step(inputs, both)
    torch.manual_seed(7)
    losses = model.loss(inputs, both)
    for name in ('own', 'crossed', 'both'):
        share = losses[f'semi/selected_{name}'].item()
        assert quality[f'{name}_share'] == pytest.approx(share, abs=1e-6)
    assert 0 < quality['own_share'] < 1
    masks = (made.mixed == stream['inputs'][2:]).all(1)
    mixed_truth = torch.where(masks, truth[2:], truth[:2])
    labels = [logits.argmax(1) for logits in made.logits_m] if target == 'self' else made.pseudo
    right = torch.stack([label == mixed_truth for label in labels]).float().mean().item()
    assert quality['accuracy'] == pytest.approx(right, abs=1e-6)


def test_other_models_and_checkpoints_are_refused(tmp_path):
    model = cross.build('RRN')
    path = tmp_path / 'a.pth'
    tiny.assert_raises(ValueError, lambda: load_rrn(cross.build(), path), 'CrossPseudo', "'RRN'")
    save_checkpoint(dict(state_dict=model.state_dict()), str(path))
    tiny.assert_raises(ValueError, lambda: load_rrn(model, path), path, 'meta.iter')


def test_the_table_has_a_row_a_selection_and_dashes_for_nothing():
    table = region_table([RegionMeasurement('iter_3.pth', 3, by_hand())])
    own, crossed, both = zip(*(column.cells for column in table.columns), strict=True)
    halves = '[green]75.0[/]', '33.3'
    assert own == ('3', '57.1', 'own', '57.1', '[green]75.0[/]', '33.3', *halves)
    assert crossed == ('', '', 'crossed', '0.0', '–', '57.1', '[red]33.3[/]', '75.0')
    assert both == ('', '', 'both', '42.9', '[red]33.3[/]', '75.0', '', '')


def test_the_command_writes_a_table_and_numbers(cfg, tmp_path, run_tool, capsys):
    config = tmp_path / 'run.py'
    cfg.dump(config)
    model = MODELS.build(cfg.model)
    paths = [tmp_path / f'iter_{iteration}.pth' for iteration in (6, 3)]
    for iteration, path in zip((6, 3), paths, strict=True):
        save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(iter=iteration)), str(path))
    run_tool('region_quality.py', config, *paths, '--masks', 'hidden', '--num', 4)
    report = json.loads((tmp_path / 'region_quality.json').read_text())
    first, second = report['checkpoints']
    assert (first['iteration'], second['iteration'], report['crops']) == (3, 6, 4)
    # equal weights see the same crops and boxes
    assert {**first, 'checkpoint': 0, 'iteration': 0} == {**second, 'checkpoint': 0, 'iteration': 0}
    assert 'against the rest' in capsys.readouterr().out
