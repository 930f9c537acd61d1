"""Whole runs on the tiny data: train, resume, test, and predict from the weights alone."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmseg.apis import MMSegInferencer, inference_model, init_model
from runs import Trained, differing, load


@pytest.fixture(scope='module')
def trained(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Six iterations with a checkpoint at three."""
    return runs.train(runs.runner(data_root, tmp_path_factory.mktemp('run')))


def test_training_moves_student_teacher_and_bank(trained):
    half, whole = (load(trained.folder / f'iter_{i}.pth')['state_dict'] for i in (3, 6))
    changed = differing(half, whole)
    for part in ('backbone', 'decode_head', 'representation_head', 'contrastive.bank.features'):
        assert any(name.startswith(part) for name in changed), part
    for network in ('backbone', 'decode_head', 'representation_head'):
        assert any(name.startswith(f'teacher.{network}') for name in changed), network
    # a copy before the second iteration, an average after the second to the last
    assert half['teacher.updates'] == 3
    assert whole['teacher.updates'] == 6
    assert all(value.isfinite().all() for value in whole.values() if value.is_floating_point())


@pytest.mark.parametrize('seed', [0, 7])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(trained, data_root, tmp_path, seed):
    """Whatever seed the config has by then."""
    start = dict(load_from=str(trained.folder / 'iter_3.pth'), resume=True)
    resumed = runs.runner(data_root, tmp_path, **start, **{'randomness.seed': seed})
    torch.manual_seed(12345)  # what came before must not matter
    np.random.seed(12345)  # noqa: NPY002 - mmseg's transforms use it
    resumed.train()
    assert resumed.iter == 6
    one, other = (load(folder / 'iter_6.pth') for folder in (trained.folder, tmp_path))
    assert differing(one['state_dict'], other['state_dict']) == []
    momenta = [checkpoint['optimizer']['state'] for checkpoint in (one, other)]
    for key, state in momenta[0].items():
        assert torch.equal(state['momentum_buffer'], momenta[1][key]['momentum_buffer'])
    assert one['optimizer']['param_groups'] == other['optimizer']['param_groups']


def test_another_seed_gives_other_weights(trained, data_root, tmp_path):
    runs.runner(data_root, tmp_path, **{'randomness.seed': 1}).train()
    one, other = (load(f / 'iter_6.pth')['state_dict'] for f in (trained.folder, tmp_path))
    assert 'decode_head.conv_seg.weight' in differing(one, other)


def test_validation_reports_teacher_and_student(trained):
    assert set(trained.metrics) == {3, 6}
    names = ('mIoU', 'mAcc', 'aAcc', 'IoU.red', 'IoU.green', 'IoU.blue')
    for metrics in trained.metrics.values():
        expected = {f'{network}/{name}' for network in ('teacher', 'student') for name in names}
        assert set(metrics) == expected
        for network in ('teacher', 'student'):
            classes = [metrics[f'{network}/IoU.{c}'] for c in ('red', 'green', 'blue')]
            assert metrics[f'{network}/mIoU'] == pytest.approx(np.nanmean(classes), abs=0.02)


def test_the_best_teacher_is_kept(trained):
    scores = {step: metrics['teacher/mIoU'] for step, metrics in trained.metrics.items()}
    best = max(scores, key=lambda step: scores[step])
    path = trained.folder / f'best_teacher_mIoU_iter_{best}.pth'
    kept = load(path)['state_dict']
    state = load(trained.folder / f'iter_{best}.pth')['state_dict']
    without_bank = {name: value for name, value in state.items() if '.bank.' not in name}
    assert differing(kept, without_bank) == []
    assert len(list(trained.folder.glob('best_*'))) == 1


def test_the_log_has_losses_shares_and_momentum(trained):
    scalars = trained.runner.message_hub.log_scalars
    losses = {name for name in scalars if 'loss' in name}
    assert losses == {
        'train/loss',
        'train/sup.decode.loss_ce',
        'train/unsup.loss_ce',
        'train/contrast.loss_nce',
    }
    total = scalars['train/loss'].current()
    parts = [scalars[name].current() for name in losses - {'train/loss'}]
    assert total == pytest.approx(sum(parts), rel=1e-5)
    # after the sixth iteration k = 5: m = 1 − 1/6
    assert scalars['train/semi/ema_momentum'].current() == pytest.approx(5 / 6)
    assert 0 < scalars['train/semi/bank_fill'].current() <= 1
    assert 0 < scalars['train/semi/reliable_share'].current() <= 1
    assert math.isfinite(scalars['train/semi/threshold'].current())


def test_testing_a_checkpoint_repeats_its_validation(trained, data_root, tmp_path):
    runner = runs.runner(data_root, tmp_path, load_from=str(trained.folder / 'iter_6.pth'))
    assert runner.test() == trained.metrics[6]


# ---------------------------------------------------------------- from the weights alone
@pytest.fixture(scope='module')
def weights(trained: Trained, data_root: Path) -> tuple[str, dict[Path, np.ndarray]]:
    """A checkpoint whose teacher predicts every class, and its labels of each image.

    Six iterations end with one class everywhere, in teacher and student alike; so the teacher's
    logits are brought to mean 0 and variance 1 on the validation images.
    """
    model = trained.runner.model.eval()
    checkpoint = load(trained.folder / 'iter_6.pth')
    model.load_state_dict(checkpoint['state_dict'])
    paths = sorted((data_root / 'images' / 'val').iterdir())
    images = [torch.tensor(cv2.imread(str(path))).permute(2, 0, 1) for path in paths]
    inputs = model.data_preprocessor(dict(inputs=images))['inputs']
    head = model.teacher.decode_head
    with torch.no_grad():
        features = model.teacher.extract_feat(inputs)
        tiny.sure_of_all_classes(head, features=features)
        labels = model.upsample(head(features), images[0].shape[1:]).argmax(1).numpy()
    assert all(len(np.unique(own)) == 3 for own in labels)
    file = trained.folder / 'spread.pth'
    torch.save({**checkpoint, 'state_dict': model.state_dict()}, file)
    return str(file), dict(zip(paths, labels, strict=True))


def test_init_model_predicts_with_the_teacher(trained, weights):
    config = Config.fromfile(trained.folder / 'tiny.py')  # as the runner dumped it
    model = init_model(config, weights[0], device='cpu')
    assert model.dataset_meta['classes'] == ('red', 'green', 'blue')
    for path, labels in weights[1].items():
        result = inference_model(model, str(path))
        assert np.array_equal(result.pred_sem_seg.data[0], labels)


def test_the_inferencer_needs_the_weights_alone(weights):
    inferencer = MMSegInferencer(model=None, weights=weights[0], device='cpu')
    for path, labels in weights[1].items():
        assert np.array_equal(inferencer(str(path))['predictions'], labels)


# -------------------------------------------------------------------- gradient accumulation
class Watch(Hook):
    """Teacher and student weights after each iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.updates, self.teacher, self.student = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model
        self.updates.append(int(model.teacher.updates))
        self.teacher.append(model.teacher.decode_head.conv_seg.weight.clone())
        self.student.append(model.decode_head.conv_seg.weight.detach().clone())


def test_with_gradient_accumulation_the_teacher_steps_with_the_optimizer(data_root, tmp_path):
    runner = runs.runner(
        data_root,
        tmp_path,
        max_iters=4,
        **{'optim_wrapper.accumulative_counts': 2, 'model.warmup_iters': 0},
        **{'train_cfg.val_interval': 2, 'default_hooks.checkpoint.interval': 2},
    )
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    assert watch.updates == [1, 2, 2, 3]
    assert torch.equal(watch.student[0], watch.teacher[0])  # no step yet: still the copy
    first = torch.lerp(watch.teacher[0], watch.student[1], 1 / 2)
    torch.testing.assert_close(watch.teacher[1], first)
    assert torch.equal(watch.teacher[2], watch.teacher[1])
    second = torch.lerp(first, watch.student[3], 1 / 3)  # m_2 = 2/3
    torch.testing.assert_close(watch.teacher[3], second)
    assert not torch.equal(watch.student[1], watch.student[0])
