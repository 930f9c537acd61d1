"""Whole runs of CPS and RRN on the tiny data: train, resume, score, predict."""

import shutil
import uuid

import cross
import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from conftest import NAMES
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from PIL import Image
from runs import differing, load, log_of

from mmseg_u2pl.analysis.report import read_test_metrics


def train(root, folder, kind, **changes):
    return runs.train(cross.runner(root, folder, kind, **changes))


# γ of 0.5: an untrained discriminator says about that much, so some regions are accepted
RRN = {'model.threshold': 0.5, 'model.selftrain_warmup_iters': 2}


@pytest.fixture(scope='module')
def rrn(data_root, tmp_path_factory):
    return train(data_root, tmp_path_factory.mktemp('rrn'), 'RRN', **RRN)


@pytest.fixture(scope='module')
def cps(data_root, tmp_path_factory):
    return train(data_root, tmp_path_factory.mktemp('cps'), 'CrossPseudo')


def values_of_steps(message_hub):
    """Everything that was logged at every step or validation, but for times."""
    return {
        name: history.data[0]
        for name, history in message_hub.log_scalars.items()
        if not name.endswith('time')
    }


def test_training_moves_all_four_parts(rrn):
    half, whole = (load(rrn.folder / f'iter_{i}.pth')['state_dict'] for i in (3, 6))
    changed = differing(half, whole)
    for part in ('backbone', 'decode_head', 'network2.backbone', 'network2.decode_head'):
        assert any(name.startswith(f'{part}.') for name in changed), part
    for part in ('discriminators.0', 'discriminators.1'):
        names = {name for name in whole if name.startswith(part)}
        assert names <= set(changed)
    assert all(value.isfinite().all() for value in whole.values() if value.is_floating_point())


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(rrn, data_root, tmp_path):
    resumed = cross.runner(
        data_root, tmp_path, load_from=str(rrn.folder / 'iter_3.pth'), resume=True, **RRN
    )
    torch.manual_seed(12345)  # what came before must not matter
    np.random.seed(12345)  # noqa: NPY002 - mmseg's transforms use it
    resumed.train()
    assert resumed.iter == 6
    one, other = (load(folder / 'iter_6.pth') for folder in (rrn.folder, tmp_path))
    assert differing(one['state_dict'], other['state_dict']) == []
    for part, moments in (
        ('networks', ('momentum_buffer',)),
        ('discriminators', ('exp_avg', 'exp_avg_sq', 'step')),
    ):
        states = [checkpoint['optimizer'][part] for checkpoint in (one, other)]
        assert states[0]['param_groups'] == states[1]['param_groups']
        assert set(states[0]['state']) == set(states[1]['state']) != set()
        for key, state in states[0]['state'].items():
            assert set(state) == set(moments)
            assert all(torch.equal(state[m], states[1]['state'][key][m]) for m in moments)
    scheduled = [checkpoint['param_schedulers'] for checkpoint in (one, other)]
    assert scheduled[0] == scheduled[1]
    logged = [values_of_steps(run.message_hub) for run in (rrn.runner, resumed)]
    assert set(logged[0]) == set(logged[1])
    assert {'train/loss', 'train/semi/accepted_own', 'train/lr', 'train/discriminators.lr'} <= set(
        logged[0]
    )
    for name, values in logged[0].items():
        assert len(values) == (6 if name.startswith('train/') else 2), name
        np.testing.assert_array_equal(values, logged[1][name], err_msg=name)


def test_without_its_weights_a_whole_run_is_cps(cps, data_root, tmp_path):
    off = {'model.matching_weight': 0.0, 'model.selection_weight': 0.0, 'model.threshold': 0.5}
    other = train(data_root, tmp_path, 'RRN', **off)
    one, two = (load(run.folder / 'iter_6.pth')['state_dict'] for run in (cps, other))
    two = {name: value for name, value in two.items() if not name.startswith('discriminators.')}
    assert differing(one, two) == []


@pytest.mark.parametrize('method', ['cps', 'rrn'])
def test_validation_scores_the_mean_and_each_network(method, request):
    run = request.getfixturevalue(method)
    assert set(run.metrics) == {3, 6}
    for metrics in run.metrics.values():
        assert {name.split('/')[0] for name in metrics} == {'mean', 'network1', 'network2'}
        assert {'mean/mIoU', 'network1/mIoU', 'network2/IoU.blue'} <= set(metrics)
    assert len(list(run.folder.glob('best_mean_mIoU_iter_*.pth'))) == 1


def test_the_log_has_losses_shares_scores_and_rates(rrn):
    scalars = rrn.runner.message_hub.log_scalars
    assert {name for name in scalars if 'loss' in name} == {
        'train/loss',
        *(f'train/sup.network{k}.decode.loss_ce' for k in (1, 2)),
        *(f'train/cps.loss_network{k}' for k in (1, 2)),
        *(f'train/rrn.loss_{name}' for name in ('matching', 'local', 'dynamic')),
        *(f'train/disc.loss_network{k}' for k in (1, 2)),
    }
    for name in ('accepted_own', 'accepted_crossed', 'accepted_both', 'agreement'):
        assert 0 <= scalars[f'train/semi/{name}'].current() <= 1
    for name in ('d_real', 'd_fake'):
        assert 0.4 < scalars[f'train/semi/{name}'].current() < 0.6
    local = scalars['train/rrn.loss_local'].data[0]
    assert (local[:2] == 0).all()  # before self-training
    assert (local[2:] > 0).any()
    rates = scalars['train/lr'].data[0]
    assert rates[0] == pytest.approx(0.05)
    assert (np.diff(rates) < 0).all()
    assert set(scalars['train/discriminators.lr'].data[0]) == {1e-4}


def test_a_checkpoint_repeats_its_validation_and_predicts_the_mean(rrn, data_root, tmp_path):
    path = str(rrn.folder / 'iter_6.pth')
    assert cross.runner(data_root, tmp_path, load_from=path).test() == rrn.metrics[6]
    model = init_model(Config.fromfile(rrn.folder / 'tiny.py'), path, device='cpu')
    image = str(sorted((data_root / 'images' / 'val').iterdir())[0])
    logits = {}
    for name in model.predictors:
        model.predictor = name
        logits[name] = inference_model(model, image).seg_logits.data
    torch.testing.assert_close(logits['mean'], (logits['network1'] + logits['network2']) / 2)


def test_the_test_tool_replaces_no_mask(rrn, data_root, tmp_path, run_tool, refuses):
    config = rrn.folder / 'plain.py'
    rrn.runner.cfg.dump(config)
    words = [config, rrn.folder / 'iter_6.pth', '--work-dir', tmp_path]
    masks = data_root / 'masks/val'
    with refuses('masks/val has files of another origin'):
        run_tool('test.py', *words, '--out', masks)
    for part in ('images', 'masks'):
        for folder in ('x', 'y'):
            shutil.copytree(data_root / part / 'val', tmp_path / part / folder)
    with refuses(r'images/x/v0.png and .*y/v0.png would be one mask'):
        run_tool('test.py', *words, '--images', tmp_path / 'images', '--masks', tmp_path / 'masks',
                 '--out', tmp_path / 'out')  # fmt: skip


def test_the_test_tool_refuses_masks_that_it_would_score_wrongly(
    rrn, data_root, tmp_path, run_tool, capsys
):
    config = rrn.folder / 'checked.py'
    rrn.runner.cfg.dump(config)
    images, masks = data_root / 'images/val', tmp_path / 'masks'
    shutil.copytree(data_root / 'masks/val', masks)
    words = [
        'test.py', config, rrn.folder / 'iter_6.pth', '--work-dir', tmp_path / 'work',
        '--images', images, '--masks', masks,
    ]  # fmt: skip
    first = sorted(masks.iterdir())[0]
    shutil.copy(first, masks / 'other.png')
    run_tool(*words)
    said = "not scored: 1 masks have no image of their stem, such as 'other.png'"
    assert said in capsys.readouterr().out
    mask = np.asarray(Image.open(first))
    for wrong, says in ((mask * 0 + 9, 'holds the label 9'), (mask[1:], first.name)):
        Image.fromarray(wrong).save(first)
        with pytest.raises(SystemExit):
            run_tool(*words)
        assert says in capsys.readouterr().err


def test_the_test_tool_scores_and_saves_any_of_the_three(rrn, data_root, tmp_path, run_tool):
    """``tools/test.py CONFIG CHECKPOINT --out MASKS``, and with ``model.predictor``."""
    config = rrn.folder / 'tiny.py'
    rrn.runner.cfg.dump(config)
    checkpoint = load(rrn.folder / 'iter_6.pth')
    torch.manual_seed(2)
    for prefix in ('', 'network2.'):  # six steps leave them alike
        checkpoint['state_dict'][f'{prefix}decode_head.conv_seg.weight'].normal_()
    path = tmp_path / 'differ.pth'
    torch.save(checkpoint, path)
    every = cross.runner(data_root, tmp_path / 'every', load_from=str(path)).test()
    assert every['network1/mIoU'] != every['network2/mIoU'] != every['mean/mIoU']
    model = init_model(Config.fromfile(config), str(path), device='cpu')
    for name in (None, 'network2'):
        folder = tmp_path / str(name)
        command = [config, path, '--work-dir', folder, '--out', folder / 'masks']
        command += ['--cfg-options', f'experiment_name={uuid.uuid4().hex}']
        command += [f'model.predictor={name}'] if name else []
        run_tool('test.py', *command)
        reported = read_test_metrics(folder)
        assert (folder / 'masks/classes.json').is_file()
        assert {key: reported[key] for key in every} == every
        model.predictor = name or 'mean'
        for stem in NAMES['val']:
            written = folder / 'masks' / f'{stem}.png'
            mask = np.array(cv2.imread(str(written), cv2.IMREAD_UNCHANGED))
            result = inference_model(model, str(data_root / 'images' / 'val' / f'{stem}.png'))
            assert np.array_equal(mask, result.pred_sem_seg.data[0])


def test_a_run_starts_from_a_plain_checkpoint(data_root, tmp_path):
    torch.manual_seed(1)
    plain = MODELS.build(dict(type='EncoderDecoder', **tiny.networks()))
    path = tmp_path / 'supervised.pth'
    save_checkpoint(dict(state_dict=plain.state_dict(), meta={}), str(path))
    runner = cross.runner(data_root, tmp_path / 'run', 'RRN', 1, load_from=str(path), **RRN)
    runner.load_or_resume()
    for network in runner.model.networks:
        assert differing(plain.state_dict(), {
            name: value for name, value in network.state_dict().items()
            if not name.startswith(('network2.', 'discriminators.'))
        }) == []  # fmt: skip
    runner.train()
    assert 'The checkpoint holds one network: both start from it' in log_of(tmp_path / 'run')
    assert runner.iter == 1
