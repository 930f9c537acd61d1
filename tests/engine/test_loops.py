"""Teacher and student in one pass score what each scores alone."""

from collections import Counter
from pathlib import Path

import pytest
import runs
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset

from mmseg_u2pl.engine import PredictorsTestLoop, PredictorsValLoop


class Outputs(Hook):
    """What drawing and saving hooks get to see."""

    def __init__(self):
        self.seen = []
        self.called: Counter[str] = Counter()

    def before_val(self, runner):
        self.called['before_val'] += 1

    def after_val_epoch(self, runner, metrics=None):
        self.called['after_val_epoch'] += 1
        self.metrics = metrics

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append((data_batch, outputs))


def prepared(root, folder, **changes):
    """A runner whose teacher and student predict all classes, differently."""
    # mmengine's runner.val() without a training cannot keep a best checkpoint
    changes = {'default_hooks.checkpoint.save_best': None, **changes}
    runner = runs.runner(root, folder, **changes)
    torch.manual_seed(0)
    model = runner.model
    model.teacher.copy_from(model)
    images = torch.randn(4, 3, 40, 48)
    with torch.no_grad():
        for network in (model, model.teacher):
            head = network.decode_head
            head.conv_seg.weight.normal_()
            logits = head(network.eval().extract_feat(images))
            head.conv_seg.bias.sub_(logits.mean((0, 2, 3)))
    return runner


@pytest.fixture
def runner(data_root: Path, tmp_path: Path) -> Runner:
    return prepared(data_root, tmp_path)


def alone(root, folder, name):
    """mmengine's own validation of one network."""
    runner = prepared(root, folder, **{'val_cfg': dict(_delete_=True, type='ValLoop')})
    runner.model.predictor = name
    return runner.val()


def test_one_pass_equals_scoring_each_alone(runner, data_root, tmp_path):
    merged = runner.val()
    assert isinstance(runner.val_loop, PredictorsValLoop)
    scores = {name: alone(data_root, tmp_path / name, name) for name in ('teacher', 'student')}
    assert scores['teacher'] != scores['student']
    expected = {f'{name}/{key}': v for name, own in scores.items() for key, v in own.items()}
    assert merged == expected
    assert merged['teacher/mIoU'] > 5


def test_testing_does_the_same_with_the_test_data(runner):
    metrics = runner.test()  # here the validation images
    assert isinstance(runner.test_loop, PredictorsTestLoop)
    assert metrics == runner.val()


@pytest.mark.parametrize('name', ['teacher', 'student'])
def test_hooks_get_the_chosen_predictors_output_and_one_dict_of_metrics(runner, name):
    outputs = Outputs()
    runner.register_hook(outputs)
    runner.model.predictor = name
    metrics = runner.val()
    assert outputs.called == dict(before_val=1, after_val_epoch=1)
    assert outputs.metrics == metrics
    assert runner.model.predictor == name
    assert len(outputs.seen) == 3
    for batch, (sample,) in outputs.seen:
        with torch.no_grad():
            network = runner.model.network(name)
            inputs = runner.model.data_preprocessor(batch)['inputs']
            logits = network.decode_head(network.extract_feat(inputs))
        expected = runner.model.upsample(logits, (40, 48))[0].argmax(0)
        assert torch.equal(sample.pred_sem_seg.data[0], expected)


def test_every_image_is_loaded_once(runner, monkeypatch):
    loaded: Counter[int] = Counter()
    load = BaseSegDataset.__getitem__

    def count(dataset, index):
        loaded[index] += 1
        return load(dataset, index)

    monkeypatch.setattr(BaseSegDataset, '__getitem__', count)
    runner.val()
    assert loaded == {0: 1, 1: 1, 2: 1}


def test_before_the_teacher_exists_both_scores_are_the_students(data_root, tmp_path):
    runner = prepared(data_root, tmp_path)
    runner.model.teacher.updates.zero_()
    metrics = runner.val()
    student = {k.split('/')[1]: v for k, v in metrics.items() if k.startswith('student')}
    assert student == {k.split('/')[1]: v for k, v in metrics.items() if k.startswith('teacher')}


def test_an_error_leaves_the_chosen_predictor_in_place(runner, monkeypatch):
    def fail(*_):
        raise RuntimeError('out of memory')

    monkeypatch.setattr(runner.model, 'val_step', fail)
    runner.model.predictor = 'student'
    with pytest.raises(RuntimeError, match='out of memory'):
        runner.val()
    assert runner.model.predictor == 'student'
