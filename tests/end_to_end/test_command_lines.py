"""The shipped demo config through the command lines, ours and mmseg's own."""

import os
import subprocess
import sys
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch

from mmseg_u2pl.analysis.report import read_test_metrics
from mmseg_u2pl.prepare.synthetic import write_dataset

pytest.importorskip('efficientnet_lite_pytorch')
ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/u2pl/u2pl_effnet-lite0_small.py'
SMALL = (
    'model.warmup_iters=1', 'model.contrastive.bank_size=64', 'model.contrastive.num_anchors=8',
    'model.backbone.pretrained=False', 'default_hooks.logger.interval=1',
    'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
)  # fmt: skip


def call(root, *command):
    """Run a Python command line from the repository; its output."""
    environment = {
        **os.environ,
        'SMALL_DATA': 'synthetic',
        'SYNTHETIC_ROOT': str(root),
        'PYTHONPATH': str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def train(root, work_dir, iterations, *flags, options=()):
    """``tools/train.py`` on the demo config, cut to a few iterations."""
    cut = (f'train_cfg.max_iters={iterations}', 'train_cfg.val_interval=3',
           'default_hooks.checkpoint.interval=3')  # fmt: skip
    options = (*SMALL, *cut, *options)
    return call(root, 'tools/train.py', CONFIG, '--work-dir', work_dir, *flags,
                '--cfg-options', *options)  # fmt: skip


@pytest.fixture(scope='module')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labeled and four unlabeled scenes, two to validate on and two to test."""
    root = tmp_path_factory.mktemp('scenes') / 'data'
    return write_dataset(root, num_labeled=2, num_unlabeled=4, num_val=2, num_test=2)


@pytest.fixture(scope='module')
def work_dir(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three iterations, then two more after ``--resume``."""
    folder = tmp_path_factory.mktemp('work')
    code, output = train(scenes, folder, 3)
    assert code == 0, output
    code, output = train(scenes, folder, 5, '--resume')
    assert code == 0, output
    assert 'resumed epoch: 0, iter: 3' in output
    return folder


def test_training_goes_on_where_it_stopped(work_dir):
    weights = torch.load(work_dir / 'iter_5.pth', weights_only=False)
    assert weights['meta']['iter'] == 5
    assert weights['state_dict']['teacher.updates'] == 5  # a copy at 1, four averages
    assert weights['meta']['dataset_meta']['classes'][0] == 'sky'


def test_half_the_batch_makes_the_same_steps_and_the_full_one_goes_on(scenes, tmp_path):
    half = ('train_dataloader.batch_size=4',)
    code, output = train(scenes, tmp_path, 3, '--auto-scale', options=half)
    assert code == 0, output
    for line in (
        'optim_wrapper.accumulative_counts: 1 -> 2',
        'train_cfg.max_iters: 3 -> 6',
        'model.warmup_iters: 1 -> 2',
        'default_hooks.checkpoint.interval: 3 -> 6',
    ):
        assert line in output
    weights = torch.load(tmp_path / 'iter_6.pth', weights_only=False)['state_dict']
    assert weights['teacher.updates'] == 3  # a copy at the second of three steps, two averages

    code, output = train(scenes, tmp_path, 5, '--resume')
    assert code == 0, output
    assert 'resumed epoch: 0, iter: 3' in output
    weights = torch.load(tmp_path / 'iter_5.pth', weights_only=False)['state_dict']
    assert weights['teacher.updates'] == 5


def test_both_test_commands_score_teacher_and_student_alike(work_dir, scenes, tmp_path):
    theirs = Path(mmseg.__file__).parent / '.mim/tools/test.py'
    scores = []
    for name, tool in (('ours', 'tools/test.py'), ('mmseg', theirs)):
        command = (tool, CONFIG, work_dir / 'iter_5.pth', '--work-dir', tmp_path / name)
        code, output = call(scenes, *command, '--cfg-options', *SMALL)
        assert code == 0, output
        scores.append(read_test_metrics(tmp_path / name))
        scores[-1] = {k: v for k, v in scores[-1].items() if 'time' not in k}
    assert {'teacher/mIoU', 'student/mIoU', 'teacher/IoU.pole'} <= set(scores[0])
    np.testing.assert_equal(scores[0], scores[1])


def test_weights_alone_predict(work_dir, scenes):
    program = (
        'import sys; from mmseg.apis import MMSegInferencer;'
        "model = MMSegInferencer(model=None, weights=sys.argv[1], device='cpu');"
        'result = model(sys.argv[2], return_datasamples=True);'
        "print('it is', type(model.model).__name__, tuple(result.pred_sem_seg.shape))"
    )
    image = scenes / 'img_dir/test/test_00000.jpg'
    code, output = call(scenes, '-c', program, work_dir / 'iter_5.pth', image)
    assert code == 0, output
    assert 'it is U2PL (96, 128)' in output


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (('model.decode_head.num_classes=7',), 'set num_classes=8'),
        (('train_dataloader.dataset.labeled.data_root=nowhere',), "no folder 'nowhere'"),
    ],
)
def test_a_mistake_ends_before_the_first_step(scenes, tmp_path, options, says):
    code, output = train(scenes, tmp_path, 2, options=options)
    assert code != 0
    assert says in output
    assert 'Iter(train)' not in output


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU takes float16')
def test_mixed_precision_on_a_cpu_is_bfloat16(scenes: Path, tmp_path: Path) -> None:
    code, output = train(scenes, tmp_path, 1, '--amp')
    assert code == 0, output
    assert "type='BFloat16OptimWrapper'" in (tmp_path / Path(CONFIG).name).read_text()
