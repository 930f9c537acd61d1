"""Teacher and student in one pass score what each scores alone."""

import json
import runpy
import sys
import uuid
from collections import Counter
from pathlib import Path

import cv2
import mmseg
import numpy as np
import pytest
import runs
import tiny
import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.datasets import BaseSegDataset

from mmseg_u2pl.engine import PredictorsTestLoop, PredictorsValLoop
from mmseg_u2pl.engine.segmentor import segmentor
from mmseg_u2pl.evaluation import ClassIoUMetric


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
    model.teacher.start(model)
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


def test_algorithms_are_not_timed_for_every_size_of_image(runner, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', True)  # as in training
    step = runner.model.test_step

    def watched(*args):
        seen.append(torch.backends.cudnn.benchmark)
        return step(*args)

    monkeypatch.setattr(runner.model, 'test_step', watched)
    runner.val()
    assert seen
    assert not any(seen)
    assert torch.backends.cudnn.benchmark


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
    with np.load(Path(runner.log_dir) / 'per_image.npz') as counts:
        assert [Path(path).stem for path in counts['teacher/paths']] == ['v0', 'v1', 'v2']
        for name in ('teacher', 'student'):
            areas = (counts[f'{name}/{key}'].sum(0) for key in ('intersect', 'union'))
            iou = np.divide(*areas).mean() * 100
            assert iou == pytest.approx(metrics[f'{name}/mIoU'], abs=0.006)  # that is rounded


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
            (network,) = runner.model.predicting()
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


def test_before_the_teacher_starts_it_is_scored_as_a_copy_of_the_student(data_root, tmp_path):
    runner = prepared(data_root, tmp_path)
    runner.model.teacher.restart()
    metrics = runner.val()
    student = {k.split('/')[1]: v for k, v in metrics.items() if k.startswith('student')}
    assert student == {k.split('/')[1]: v for k, v in metrics.items() if k.startswith('teacher')}


def test_a_plain_segmentor_is_scored_as_by_mmseg(data_root, tmp_path):
    """The loops are in the runtime base, so the supervised baseline has them as well."""
    scores = []
    for name in ('PredictorsValLoop', 'ValLoop'):
        changes = {
            'model': dict(_delete_=True, type='EncoderDecoder', **tiny.networks()),
            'model.data_preprocessor': runs.settings(data_root, 6)['model']['data_preprocessor'],
            'val_cfg': dict(_delete_=True, type=name),
            'default_hooks.checkpoint.save_best': None,
        }
        torch.manual_seed(0)
        scores.append(runs.runner(data_root, tmp_path / name, **changes).val())
    assert scores[0] == scores[1]
    assert {'mIoU', 'IoU.red'} <= set(scores[0])


# ------------------------------------------------------------------------ masks on disk
def masks(folder):
    """The masks in a folder, by name."""
    return {
        path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        for path in sorted(Path(folder).glob('*.png'))
    }


def labels_by(runner, name):
    """What a predictor takes the validation images for, by the name of the mask."""
    model = runner.model.eval()
    found = {}
    for batch in runner.test_loop.dataloader:
        model.predictor = name
        with torch.no_grad():
            (sample,) = model.test_step(batch)
        path = Path(sample.img_path).with_suffix('.png').name
        found[path] = sample.pred_sem_seg.data[0].numpy()
    return found


@pytest.mark.parametrize('chosen', ['teacher', 'student'])
@pytest.mark.parametrize(
    'settings',
    [dict(keep_results=True), dict(format_only=True)],
    ids=['scored and written', 'written alone'],
)
def test_masks_on_disk_are_those_of_the_models_predictor(chosen, settings, data_root, tmp_path):
    """``test_evaluator.output_dir``, as mmseg's ``tools/test.py --out`` sets it."""
    folder = tmp_path / 'masks'
    evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'], output_dir=str(folder), **settings)
    evaluator['format_only'] = settings.get('format_only', False)
    runner = prepared(
        data_root,
        tmp_path,
        **{'test_evaluator': dict(_delete_=True, **evaluator), 'model.predictor': chosen},
    )
    metrics = runner.test()
    written = masks(folder)
    by = {name: labels_by(runner, name) for name in ('teacher', 'student')}
    assert set(written) == set(by[chosen]) == {'v0.png', 'v1.png', 'v2.png'}
    other = {'teacher': 'student', 'student': 'teacher'}[chosen]
    for name, mask in written.items():
        assert np.array_equal(mask, by[chosen][name])
        assert not np.array_equal(mask, by[other][name])
    if settings.get('format_only'):
        assert metrics == {}
    else:  # every predictor is scored all the same
        assert metrics.items() <= runner.val().items()
        assert {'teacher/mIoU', 'student/mIoU'} <= set(metrics)


def test_mmsegs_own_loop_writes_those_of_the_models_predictor_too(data_root, tmp_path):
    evaluator = dict(
        _delete_=True, type='IoUMetric', iou_metrics=['mIoU'], output_dir=str(tmp_path / 'masks')
    )
    changes = {'test_evaluator': evaluator, 'test_cfg': dict(_delete_=True, type='TestLoop')}
    runner = prepared(data_root, tmp_path, **changes)
    runner.test()
    expected = labels_by(runner, 'teacher')
    for name, mask in masks(tmp_path / 'masks').items():
        assert np.array_equal(mask, expected[name])


# ---------------------------------------------------------------- test-time augmentation
FLIPS = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]


def flipped_mean(runner, name, image):
    """Labels of the mean of the softmax of an image and its mirror image."""
    model = segmentor(runner)
    before, model.predictor = model.predictor, name
    data = dict(inputs=[torch.tensor(image).permute(2, 0, 1)])
    inputs = model.data_preprocessor(data)['inputs']
    size = image.shape[:2]
    metas = [dict(ori_shape=size, img_shape=size, pad_shape=size)]
    with torch.no_grad():
        one, two = (model.inference(own, metas) for own in (inputs, inputs.flip(3)))
    model.predictor = before
    return (one.softmax(1) + two.flip(3).softmax(1))[0].argmax(0).numpy()


@pytest.fixture
def mmsegs_tool(monkeypatch):
    """mmseg's ``tools/test.py`` in this process: words of its command line."""
    path = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'test.py'
    if not path.exists():
        pytest.skip('mmseg is installed without its tools')

    def run(*words):
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, words)])
        runpy.run_path(str(path), run_name='__main__')

    return run


@pytest.mark.parametrize(
    ('chosen', 'tta'), [('teacher', False), ('teacher', True), ('student', True)]
)
def test_mmsegs_test_tool_scores_all_and_writes_the_masks_of_one(
    chosen, tta, data_root, tmp_path, mmsegs_tool
):
    """``tools/test.py CONFIG CHECKPOINT --out MASKS``, and with ``--tta``."""
    changes = {
        'model.predictor': chosen,
        'tta_model': dict(type='SegTTAModel'),
        'tta_pipeline': FLIPS,
    }
    runner = prepared(data_root, tmp_path, **changes)
    runner.cfg.dump(tmp_path / 'config.py')
    torch.save(dict(state_dict=runner.model.state_dict(), meta={}), tmp_path / 'weights.pth')
    options = ['--work-dir', tmp_path / 'work', '--out', tmp_path / 'masks', *['--tta'] * tta]
    mmsegs_tool(
        tmp_path / 'config.py', tmp_path / 'weights.pth', *options,
        '--cfg-options', f'experiment_name={uuid.uuid4().hex}',
    )  # fmt: skip
    metrics = json.loads(next((tmp_path / 'work').rglob('*.json')).read_text())
    assert metrics['teacher/mIoU'] != metrics['student/mIoU']
    written = masks(tmp_path / 'masks')
    assert set(written) == {'v0.png', 'v1.png', 'v2.png'}
    agreed = {}
    for name in ('teacher', 'student'):
        labels = labels_by(runner, name)
        if tta:
            labels = {p: flipped_mean(runner, name, image_of(data_root, p)) for p in written}
        agreed[name] = np.mean([(written[path] == labels[path]).mean() for path in written])
    assert agreed.pop(chosen) == 1
    assert max(agreed.values()) < 0.9


def image_of(root, name):
    return cv2.imread(str(root / 'images' / 'val' / name))


def test_an_error_leaves_the_chosen_predictor_in_place(runner, monkeypatch):
    def fail(*_):
        raise RuntimeError('out of memory')

    monkeypatch.setattr(runner.model, 'test_step', fail)
    runner.model.predictor = 'student'
    with pytest.raises(RuntimeError, match='out of memory'):
        runner.val()
    assert runner.model.predictor == 'student'


METRIC = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])


@pytest.mark.parametrize(
    'evaluator',
    [
        [METRIC],
        dict(type='Evaluator', metrics=[METRIC]),
        [ClassIoUMetric(iou_metrics=['mIoU'])],
        Evaluator([ClassIoUMetric(iou_metrics=['mIoU'])]),
    ],
    ids=['list', 'config of an evaluator', 'built metric', 'built evaluator'],
)
def test_any_evaluator_that_mmengine_takes(runner, evaluator):
    expected = runner.val()
    loop = PredictorsValLoop(runner, runner.val_dataloader, evaluator)
    assert loop.run() == expected
