"""The hook that names and checks the lists of a run, in whole runs."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import runs
import tiny
import torch
from mmengine.config import Config
from mmseg.apis import init_model
from runs import load, log_of

from mmseg_u2pl.analysis.report import markdown_table, read_test_metrics

SETTINGS = {
    'default_hooks.protocol': dict(type='ProtocolHook'),
    'default_hooks.checkpoint.interval': 2,
    'train_cfg.val_interval': 2,
}
NO_VAL = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


def runner(root, work_dir, max_iters=2, **changes):
    return runs.runner(root, work_dir, max_iters, **{**SETTINGS, **changes})


def supervised(root, labeled):
    """What makes the tiny run that of a supervised baseline."""
    preprocessor = runs.settings(root, 2)['model']['data_preprocessor']
    sampler = dict(type='SemiSampler', ratio=(1, 0))
    dataset = dict(type='SemiDataset', labeled=labeled)
    return {
        'model': dict(
            tiny.networks(), type='EncoderDecoder', data_preprocessor=preprocessor, _delete_=True
        ),
        'train_dataloader': dict(batch_size=2, sampler=sampler, dataset=dataset, _delete_=True),
        'custom_hooks': [],
        'val_cfg': dict(type='ValLoop'),
        'test_cfg': dict(type='TestLoop'),
        'default_hooks.checkpoint.save_best': 'mIoU',
    }


def name_of(path):
    """Of a list without record."""
    return f'{path.stem} {sha256(path)[:8]}'


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def publish(root):
    """Give the labeled list a record, as tools that write lists do."""
    entry = dict(sha256=sha256(root / 'labeled.txt'), family='u2pl')
    (root / 'provenance.json').write_text(json.dumps(dict(lists=dict(labeled=entry))))


class Trained(NamedTuple):
    """A run of two iterations on a published list."""

    root: Path
    folder: Path

    @property
    def weights(self):
        return str(self.folder / 'iter_2.pth')

    @property
    def protocol(self):
        digest = sha256(self.root / 'labeled.txt')[:8]
        return dict(
            name=f'u2pl labeled {digest}', family='u2pl', list_name='labeled', digest=digest
        )


@pytest.fixture(scope='module')
def trained(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp('trained')
    root = shutil.copytree(data_root, folder / 'data')
    publish(root)
    runner(root, folder / 'run').train()
    return Trained(root, folder / 'run')


@pytest.fixture
def old(trained, tmp_path):
    """Weights of before the hook."""
    checkpoint = load(trained.weights)
    del checkpoint['meta']['protocol']
    path = tmp_path / 'old.pth'
    torch.save(checkpoint, path)
    return str(path)


def test_log_checkpoint_and_metrics_say_what_was_trained_on(trained, tmp_path):
    log = log_of(trained.folder)
    assert f'protocol: {trained.protocol["name"]}\n' in log
    rows = [line.split('|')[1:4] for line in log.splitlines() if line.startswith('| ')]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert ['labeled', '4', str(trained.root / 'labeled.txt')] in cells
    assert ['unlabeled', '6', str(trained.root / 'unlabeled.txt')] in cells
    assert ['val', '3', str(trained.root / 'images/val')] in cells
    assert log.count('| stream') == 1
    for name in ('iter_2.pth', next(trained.folder.glob('best_*.pth')).name):
        assert load(trained.folder / name)['meta']['protocol'] == trained.protocol

    test = runner(trained.root, tmp_path / 'test', load_from=trained.weights)
    scores = test.test()
    assert 'protocol' not in scores
    metrics = read_test_metrics(tmp_path / 'test')
    assert metrics['protocol'] == trained.protocol
    assert metrics['scored_on']['name'].startswith('all of val ')
    assert metrics['teacher/mIoU'] == scores['teacher/mIoU']
    assert markdown_table({'U²PL': [tmp_path / 'test']}).endswith('predictor: U²PL teacher')


def test_one_runner_may_train_and_test(own_root, tmp_path):
    (own_root / 'test.txt').write_text('v0\nv1\n')
    changes = {
        'default_hooks.checkpoint.save_best': None,
        'test_dataloader.dataset.ann_file': 'test.txt',
    }
    both = runner(own_root, tmp_path, **NO_VAL, **changes)
    both.train()
    assert f'| test      |      2 | {own_root}/test.txt' in log_of(tmp_path)
    both.test()
    assert len(both.test_dataloader.dataset) == 2
    assert read_test_metrics(tmp_path)['scored_on']['list_name'] == 'test'
    assert both.message_hub.get_info('protocol')['name'] == name_of(own_root / 'labeled.txt')
    assert read_test_metrics(tmp_path)['protocol'] == both.message_hub.get_info('protocol')


def test_scoring_labeled_images_is_pointed_out(trained, tmp_path):
    prefix = dict(img_path='images/train', seg_map_path='masks/train')
    seen = {
        'test_dataloader.dataset.data_prefix': prefix,
        'test_dataloader.dataset.ann_file': 'labeled.txt',
    }
    for name, changes in (('seen', seen), ('unseen', {})):
        runner(trained.root, tmp_path / name, load_from=trained.weights, **changes).test()
        said = 'images both labeled and test: 4' in log_of(tmp_path / name)
        assert said == (name == 'seen')


def test_weights_predict_without_the_hook(trained):
    assert init_model(Config.fromfile(trained.folder / 'tiny.py'), trained.weights, device='cpu')


def test_a_test_needs_no_training_images(trained, tmp_path):
    """And a checkpoint that lacks weights is refused, as it is not a start for training."""
    tested = runner(
        trained.root, tmp_path, **{'train_dataloader.dataset.labeled.data_root': 'gone'}
    )
    tested.load_checkpoint(trained.weights)
    assert 'teacher/mIoU' in tested.test()

    checkpoint = load(trained.weights)
    weights = checkpoint['state_dict']
    checkpoint['state_dict'] = {k: v for k, v in weights.items() if k.startswith('backbone.')}
    torch.save(checkpoint, tmp_path / 'part.pth')
    other = runner(trained.root, tmp_path / 'other')
    tiny.assert_raises(
        ValueError, lambda: other.load_checkpoint(str(tmp_path / 'part.pth')), 'a backbone alone'
    )


@pytest.mark.parametrize('wrapped', [False, True])
def test_supervised_baselines_and_wrapped_data_sets(own_root, tmp_path, wrapped):
    dataset = tiny.labeled_config(own_root)
    name = name_of(own_root / 'labeled.txt')
    if wrapped:
        (own_root / 'more.txt').write_text('l1\nl0\n')
        more = dict(dataset, ann_file='more.txt')
        dataset = dict(type='ConcatDataset', datasets=[dataset, more])
        dataset = dict(type='RepeatDataset', dataset=dataset, times=2)
        name += f' + {name_of(own_root / "more.txt")}'
    plain = runner(own_root, tmp_path / 'run', **supervised(own_root, dataset))
    plain.train()
    assert load(tmp_path / 'run' / 'iter_2.pth')['meta']['protocol']['name'] == name
    plain.test()
    assert read_test_metrics(tmp_path / 'run')['protocol']['name'] == name
    assert 'unlabeled' not in log_of(tmp_path / 'run').split('protocol: ')[1].split('Iter')[0]


def test_all_images_of_a_folder_need_no_list(own_root, tmp_path):
    for path in (own_root / 'images/train').glob('u*.png'):
        path.unlink()
    dataset = tiny.labeled_config(own_root, ann_file='')
    runner(own_root, tmp_path / 'run', **supervised(own_root, dataset)).train()
    protocol = load(tmp_path / 'run' / 'iter_2.pth')['meta']['protocol']
    assert protocol['name'] == f'all of train {protocol["digest"]}'


# --------------------------------------------------------------------------------- refusals
def refused(call, work_dir, *parts):
    """The run stops before its first step."""
    tiny.assert_raises(ValueError, call, *parts)
    assert 'Iter(train)' not in log_of(work_dir)


def test_an_image_in_two_lists_is_refused(own_root, tmp_path):
    with (own_root / 'unlabeled.txt').open('a') as file:
        file.write('l2\n')
    train = runner(own_root, tmp_path / 'run').train
    parts = (f'labeled: {own_root}/labeled.txt', f'unlabeled: {own_root}/unlabeled.txt')
    refused(train, tmp_path / 'run', 'images both labeled and unlabeled: 1', *parts)


def test_a_test_image_in_training_is_refused(own_root, tmp_path):
    (own_root / 'test.txt').write_text('l1\n')
    prefix = dict(img_path='images/train', seg_map_path='masks/train')
    test = tiny.labeled_config(
        own_root, ann_file='test.txt', data_prefix=prefix, pipeline=runs.TEST_PIPELINE
    )
    train = runner(own_root, tmp_path / 'run', **{'test_dataloader.dataset': test}).train
    parts = ('images both labeled and test: 1', f'test: {own_root}/test.txt')
    refused(train, tmp_path / 'run', *parts)


def test_an_edited_list_is_refused(own_root, tmp_path):
    publish(own_root)
    (own_root / 'labeled.txt').write_text('l0\nl1\n')
    train = runner(own_root, tmp_path / 'run').train
    refused(train, tmp_path / 'run', f"'{own_root}/labeled.txt' was edited")


def test_an_edited_test_list_is_refused_before_scoring(own_root, tmp_path):
    (own_root / 'test.txt').write_text('v0\nv1\n')
    lists = dict(test=dict(sha256='0' * 64, family='u2pl'))
    (own_root / 'provenance.json').write_text(json.dumps(dict(lists=lists)))
    test = runner(own_root, tmp_path / 'run', **{'test_dataloader.dataset.ann_file': 'test.txt'})
    tiny.assert_raises(ValueError, test.test, f"'{own_root}/test.txt' was edited")


# ---------------------------------------------------------------------------------- resume
def resumed(trained, work_dir, weights=None, **changes):
    weights = weights or trained.weights
    return runner(trained.root, work_dir, 3, load_from=weights, resume=True, **changes)


def test_resuming_on_another_list_is_refused(trained, tmp_path):
    (trained.root / 'other.txt').write_text('l0\nl1\n')
    changes = {'train_dataloader.dataset.labeled.ann_file': 'other.txt'}
    train = resumed(trained, tmp_path / 'on', **changes).train
    names = (f'trained on {trained.protocol["name"]!r}', repr(name_of(trained.root / 'other.txt')))
    refused(train, tmp_path / 'on', *names)
    # as the start of another training, the weights may come from anywhere
    other = runner(trained.root, tmp_path / 'anew', load_from=trained.weights, **changes)
    other.train()
    assert load(tmp_path / 'anew/iter_2.pth')['meta']['protocol']['list_name'] == 'other'


def test_resuming_on_the_same_lines_goes_on(trained, tmp_path):
    lines = (trained.root / 'labeled.txt').read_bytes()
    (trained.root / 'renamed.txt').write_bytes(lines.replace(b'\n', b'\r\n'))
    changes = {'train_dataloader.dataset.labeled.ann_file': 'renamed.txt'}
    run = resumed(trained, tmp_path / 'on', **changes)
    run.train()
    assert run.iter == 3


def test_older_weights_resume_and_are_tested(trained, old, tmp_path):
    run = resumed(trained, tmp_path / 'on', old)
    run.train()
    assert load(tmp_path / 'on' / 'iter_3.pth')['meta']['protocol'] == trained.protocol
    runner(trained.root, tmp_path / 'test', load_from=old).test()
    metrics = read_test_metrics(tmp_path / 'test')
    assert 'protocol' not in metrics
    assert metrics['scored_on']['list_name'] == 'all of val'
    note = markdown_table({'old': [tmp_path / 'test']}).splitlines()[-1]
    assert note == 'protocol unknown: old'
