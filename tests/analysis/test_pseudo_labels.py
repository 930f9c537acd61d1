"""Pseudo-labels of every method against the ground truth of tiny data."""

import json

import cross
import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from conftest import NAMES
from mmengine.runner import load_checkpoint, save_checkpoint
from mmseg.registry import MODELS

from mmseg_u2pl.analysis.pseudo_labels import measure, place_in_training
from mmseg_u2pl.datasets.checks import infos
from mmseg_u2pl.datasets.prediction import batches, unlabeled_images, unlabeled_per_batch


# -------------------------------------------------------------------- tiny models and data
@pytest.fixture
def cfg(masked_root, tmp_path):
    return runs.config(masked_root, tmp_path / 'run')


def method(cfg, kind):
    """In the middle of its training: 3 of 6 iterations, 1 of them warm-up; sure of many pixels."""
    torch.manual_seed(0)
    settings = dict(warmup_iters=1, data_preprocessor=cfg.model.data_preprocessor)
    make = cross.config if kind in ('CrossPseudo', 'RRN') else tiny.semi_config
    model = MODELS.build(make(kind, **settings))
    for network in model.networks:
        torch.nn.init.normal_(network.decode_head.conv_seg.weight, std=5.0)
    model.before_iter(3, 6)
    return model.eval()


def save(model, path, iteration, cfg=None):
    meta = {} if iteration is None else dict(iter=iteration)
    if cfg is not None:
        meta['cfg'] = cfg.pretty_text
    save_checkpoint(dict(state_dict=model.state_dict(), meta=meta), str(path))
    return path


def test_the_data_set_holds_the_unlabeled_images_and_their_masks(cfg):
    dataset = unlabeled_images(cfg, 'truth')
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [info['img_path'].rsplit('/', 1)[1] for info in infos] == [
        f'{name}.png' for name in NAMES['unlabeled']
    ]
    assert '/truth/' in infos[0]['seg_map_path']
    assert dataset.metainfo['classes'] == tiny.META['classes']


def test_a_test_pipeline_without_masks_is_not_taken(cfg):
    """Such as that of ``make_config``, for prediction."""
    cfg.test_pipeline = [step for step in cfg.test_pipeline if step['type'] != 'LoadAnnotations']
    assert len(cfg.test_pipeline) == 2
    assert 'gt_sem_seg' in unlabeled_images(cfg, 'truth')[0]['data_samples']


def test_data_sets_inside_wrappers_are_found(cfg):
    parts = cfg.train_dataloader.dataset
    expected = [info['img_path'] for info in infos(unlabeled_images(cfg, 'truth'))]
    parts.labeled = dict(type='RepeatDataset', times=2, dataset=parts.labeled)
    parts.unlabeled = dict(type='RepeatDataset', times=2, dataset=parts.unlabeled)
    assert [info['img_path'] for info in infos(unlabeled_images(cfg, 'truth'))] == expected
    parts.unlabeled = dict(type='ConcatDataset', datasets=[parts.unlabeled])
    tiny.assert_raises(
        ValueError, lambda: unlabeled_images(cfg, 'truth'), 'ConcatDataset', '--config'
    )


def test_missing_masks_are_named(cfg):
    tiny.assert_raises(
        FileNotFoundError, lambda: unlabeled_images(cfg, 'nowhere'), 'masks nowhere', 'data'
    )
    tiny.assert_raises(
        FileNotFoundError,
        lambda: unlabeled_images(cfg, 'masks/train'),
        'masks masks/train',
        '6 files are missing',
    )


def test_a_supervised_config_has_no_unlabeled_images(cfg):
    cfg.train_dataloader.dataset.unlabeled = None
    with pytest.raises(ValueError, match='no unlabeled images'):
        unlabeled_images(cfg, 'truth')


def test_groups_hold_equal_sizes(cfg, masked_root):
    for folder in ('images/train', 'truth'):
        path = str(masked_root / folder / 'u3.png')
        image = np.array(cv2.imread(path, cv2.IMREAD_UNCHANGED))
        cv2.imwrite(path, image[:32])
    dataset = unlabeled_images(cfg, 'truth')
    groups = list(batches(dataset, range(6), 2))
    assert [len(group) for group in groups] == [2, 1, 1, 2]


def test_a_group_holds_as_many_images_as_a_step_selects_among(cfg):
    assert unlabeled_per_batch(cfg) == 2
    cfg.train_dataloader.sampler.ratio = (1, 2)
    cfg.train_dataloader.batch_size = 9
    assert unlabeled_per_batch(cfg) == 6


@pytest.mark.parametrize(
    ('kind', 'networks'),
    [
        ('U2PL', ['teacher']),
        ('FixMatch', ['student']),
        ('MeanTeacher', ['teacher']),
        ('UniMatch', ['student']),
        ('UniMatchV2', ['teacher']),
        ('CrossPseudo', ['network1', 'network2']),
        ('RRN', ['network1', 'network2']),
    ],
)
def test_every_method_is_measured_by_its_pseudo_labels(cfg, kind, networks):
    model = method(cfg, kind)
    if kind == 'RRN':
        model.accepted_share = 0.5
    dataset = unlabeled_images(cfg, 'truth')
    samples = [dataset[index] for index in range(6)]
    found = measure(model, batches(dataset, range(6), 6))
    assert list(found) == networks
    images = model.data_preprocessor(dict(inputs=[s['inputs'] for s in samples]))['inputs']
    truth = torch.cat([sample['data_samples'].gt_sem_seg.data for sample in samples])
    valid = truth != 255
    for name, (label, keep, _) in model.pseudo_labels(images, torch.ones_like(valid)).items():
        for group, chosen in enumerate((valid & ~keep, valid & keep)):
            expected = torch.bincount((truth * 3 + label)[chosen], minlength=9).view(3, 3)
            assert found[name].confusion[group].tolist() == expected.tolist()
        share = found[name].overall()['share_kept']
        if kind == 'U2PL':  # α = 20 % · (1 − 2/5)
            assert share == pytest.approx(0.88, abs=0.02)
        elif kind in ('FixMatch', 'UniMatch', 'UniMatchV2', 'RRN'):
            assert 0 < share < 1
        else:
            assert share == 1


def test_padding_and_the_size_of_the_masks_change_no_pixel_count(cfg):
    model = method(cfg, 'U2PL')
    model.data_preprocessor.test_cfg = dict(size_divisor=32)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(36, 30), keep_ratio=True),
        *runs.TEST_PIPELINE[1:],
    ]
    found = measure(model, batches(unlabeled_images(cfg, 'truth'), range(6), 4))
    assert found['teacher'].confusion.sum() == 6 * 37 * 48  # three of 40 rows are void


def placed(model, path):
    """The iteration of a checkpoint, with which the model was loaded."""
    checkpoint = load_checkpoint(model, str(path), map_location='cpu', strict=True)
    return place_in_training(model, checkpoint, path, dict(train_cfg=dict(max_iters=6)))


def test_loading_sets_the_progress(cfg, tmp_path):
    path = save(method(cfg, 'U2PL'), tmp_path / 'iter_4.pth', 4)
    model = MODELS.build(cfg.model)
    assert placed(model, path) == 4
    assert model.progress == pytest.approx(3 / 5)
    assert model.teacher.started
    assert not model.training


def test_a_checkpoint_of_the_warm_up_has_no_pseudo_labels(cfg, tmp_path):
    cfg.model.warmup_iters = 3
    model = MODELS.build(cfg.model)
    path = save(model, tmp_path / 'iter_1.pth', 1)
    message = path, 'saved during the warm-up, at iteration 1 of 3'
    tiny.assert_raises(ValueError, lambda: placed(model, path), *message)
    save(model, path, None)
    tiny.assert_raises(ValueError, lambda: placed(model, path), path, 'meta.iter')


def test_a_supervised_model_has_no_pseudo_labels(tmp_path):
    model = MODELS.build(dict(type='EncoderDecoder', **tiny.networks()))
    path = save(model, tmp_path / 'iter_4.pth', 4)
    tiny.assert_raises(ValueError, lambda: placed(model, path), 'EncoderDecoder makes no')


@pytest.mark.parametrize('kind', ['U2PL', 'RRN'])
def test_the_command_writes_numbers_and_a_picture_a_network(cfg, kind, tmp_path, run_tool, capsys):
    model = method(cfg, kind)
    if kind == 'RRN':
        cfg.model = cross.config(kind, data_preprocessor=cfg.model.data_preprocessor)
    paths = [save(model, tmp_path / f'iter_{step}.pth', step, cfg) for step in (6, 3)]
    out = tmp_path / 'quality'
    run_tool('pseudo_labels.py', *paths, '--masks', 'truth', '--num', 4, '-o', out)
    report = json.loads((out / 'pseudo_labels.json').read_text())
    networks = ['teacher'] if kind == 'U2PL' else ['network1', 'network2']
    assert report['images'] == 4
    expected = [(iteration, network) for iteration in (3, 6) for network in networks]
    assert [(m['iteration'], m['network']) for m in report['measurements']] == expected
    assert set(report['measurements'][0]['quality']['classes']) == {'red', 'green', 'blue'}
    if kind == 'U2PL':
        assert report['measurements'][1]['quality']['overall']['share_kept'] > 0.99  # α is 0
    printed = capsys.readouterr().out
    for network in networks:
        assert (out / f'{network}.png').stat().st_size > 10_000
        assert f'Pseudo-labels of {network} at iteration 6' in printed
    assert 'Pseudo-labels of all classes' in printed


def test_a_mistake_is_one_line(cfg, tmp_path, run_tool, refuses):
    path = save(method(cfg, 'U2PL'), tmp_path / 'iter_4.pth', 4, cfg)
    with refuses('masks nowhere'):
        run_tool('pseudo_labels.py', path, '--masks', 'nowhere', '-o', tmp_path / 'out')
