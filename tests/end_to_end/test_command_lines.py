"""The shipped demo config through the command lines, ours and mmseg's own."""

import subprocess
import sys
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from runs import OFFLINE, log_of, words

from mmseg_u2pl.analysis.report import read_test_metrics
from mmseg_u2pl.prepare.synthetic import write_dataset

pytest.importorskip('efficientnet_lite_pytorch')
ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/u2pl/u2pl_effnet-lite0_small.py'
SMALL = (
    'model.warmup_iters=1', 'model.contrastive.bank_size=64', 'model.contrastive.num_anchors=8',
    'default_hooks.logger.interval=1', *words(OFFLINE),
)  # fmt: skip


def call(*command):
    """Run a Python command line, which has to succeed, in a process of its own; its output."""
    words = [sys.executable, *map(str, command)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


@pytest.fixture(scope='module')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labeled and four unlabeled scenes, two to validate on and two to test; configs use them."""
    root = tmp_path_factory.mktemp('scenes') / 'data'
    write_dataset(root, num_labeled=2, num_unlabeled=4, num_val=2, num_test=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SMALL_DATA', 'synthetic')
        patch.setenv('SYNTHETIC_ROOT', str(root))
        patch.setenv('PYTHONPATH', str(ROOT))
        yield root


@pytest.fixture(scope='module')
def train(scenes, run_tool):
    """``tools/train.py`` on the demo config, cut to a few iterations."""

    def run(work_dir, iterations, *flags, options=()):
        cut = (f'train_cfg.max_iters={iterations}', 'train_cfg.val_interval=2',
               'default_hooks.checkpoint.interval=2')  # fmt: skip
        options = (*SMALL, *cut, *options)
        run_tool('train.py', CONFIG, '--work-dir', work_dir, *flags, '--cfg-options', *options)

    return run


@pytest.fixture(scope='module')
def work_dir(train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two iterations, then another after ``--resume``."""
    folder = tmp_path_factory.mktemp('work')
    train(folder, 2)
    train(folder, 3, '--resume')
    return folder


def test_training_goes_on_where_it_stopped(work_dir):
    assert 'resumed epoch: 0, iter: 2' in log_of(work_dir)
    weights = torch.load(work_dir / 'iter_3.pth', weights_only=False)
    assert weights['meta']['iter'] == 3
    assert weights['state_dict']['teacher.updates'] == 3  # a copy at 1, two averages
    assert weights['meta']['dataset_meta']['classes'][0] == 'sky'


def test_half_the_batch_makes_the_same_steps_and_the_full_one_goes_on_in_mixed_precision(
    train, tmp_path, capsys
):
    train(tmp_path, 2, '--auto-scale', options=('train_dataloader.batch_size=4',))
    output = capsys.readouterr().out
    for line in (
        'optim_wrapper.accumulative_counts: 1 -> 2',
        'train_cfg.max_iters: 2 -> 4',
        'model.warmup_iters: 1 -> 2',
        'default_hooks.checkpoint.interval: 2 -> 4',
    ):
        assert line in output
    weights = torch.load(tmp_path / 'iter_4.pth', weights_only=False)['state_dict']
    assert weights['teacher.updates'] == 2  # a copy at the second of two steps, an average

    train(tmp_path, 3, '--resume', '--amp')
    assert 'resumed epoch: 0, iter: 2' in log_of(tmp_path)
    weights = torch.load(tmp_path / 'iter_3.pth', weights_only=False)['state_dict']
    assert weights['teacher.updates'] == 3
    if not torch.cuda.is_available():  # which takes float16
        assert "type='BFloat16OptimWrapper'" in (tmp_path / CONFIG.name).read_text()


def test_both_test_commands_score_teacher_and_student_alike(work_dir, tmp_path, run_tool):
    words = (CONFIG, work_dir / 'iter_3.pth', '--cfg-options', *SMALL, '--work-dir')
    run_tool('test.py', *words, tmp_path / 'ours')
    call(Path(mmseg.__file__).parent / '.mim/tools/test.py', *words, tmp_path / 'mmseg')
    ours, theirs = (
        {k: v for k, v in read_test_metrics(tmp_path / name).items() if 'time' not in k}
        for name in ('ours', 'mmseg')
    )
    assert {'teacher/mIoU', 'student/mIoU', 'teacher/IoU.pole'} <= set(ours)
    np.testing.assert_equal(ours, theirs)


def test_weights_alone_predict(work_dir, scenes):
    program = (
        'import sys; from mmseg.apis import MMSegInferencer;'
        "model = MMSegInferencer(model=None, weights=sys.argv[1], device='cpu');"
        'result = model(sys.argv[2], return_datasamples=True);'
        "print('it is', type(model.model).__name__, tuple(result.pred_sem_seg.shape))"
    )
    image = scenes / 'img_dir/test/test_00000.jpg'
    assert 'it is U2PL (96, 128)' in call('-c', program, work_dir / 'iter_3.pth', image)


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (('model.decode_head.num_classes=7',), 'set num_classes=8'),
        (('train_dataloader.dataset.labeled.data_root=nowhere',), "no folder 'nowhere'"),
    ],
)
def test_a_mistake_ends_before_the_first_step(train, tmp_path, options, says, refuses):
    with refuses(says):
        train(tmp_path, 2, options=options)
    assert 'Iter(train)' not in log_of(tmp_path)
