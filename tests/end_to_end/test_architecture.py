"""The method that ``docs/architecture.md`` adds trains as its text stands: three files."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import runs
from mmengine.config import Config
from mmengine.runner import Runner

PAGE = Path(__file__).parents[2] / 'docs' / 'architecture.md'
FILES = ['my_methods.py', 'my_mean_teacher_base.py', 'my_mean_teacher_synthetic.py']


def write_files(folder):
    """The code blocks of "Add a method", each under the name in its first line."""
    section = PAGE.read_text(encoding='utf-8').split('\n## Add a method\n')[1]
    blocks = re.findall(r'```python\n(# (\S+)\n.*?)```', section, re.S)
    assert [name for _, name in blocks] == FILES
    assert section.count('```python') == len(FILES)
    for text, name in blocks:
        (folder / name).write_text(text, encoding='utf-8')
    return folder / FILES[-1]


def write_scenes(root):
    """Two labeled, two unlabeled, a validation and a test image in the layout of the demo's data."""
    rng = np.random.default_rng(0)
    for split, names in (('train', 'abcd'), ('val', 'e'), ('test', 'f')):
        for folder in ('img_dir', 'ann_dir'):
            (root / folder / split).mkdir(parents=True)
        for name in names:
            image = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
            cv2.imwrite(str(root / f'img_dir/{split}/{name}.jpg'), image)
            mask = rng.integers(0, 8, (12, 16), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            cv2.imwrite(str(root / f'ann_dir/{split}/{name}.png'), mask)
    (root / 'splits').mkdir()
    (root / 'splits/labeled.txt').write_text('a\nb\n')
    (root / 'splits/unlabeled.txt').write_text('c\nd\n')


def test_the_added_method_is_at_most_40_lines(tmp_path):
    write_files(tmp_path)
    assert len((tmp_path / FILES[0]).read_text(encoding='utf-8').splitlines()) <= 40


def test_the_added_method_trains(tmp_path, monkeypatch):
    pytest.importorskip('efficientnet_lite_pytorch')
    write_scenes(tmp_path / 'scenes')
    monkeypatch.setenv('SYNTHETIC_ROOT', str(tmp_path / 'scenes'))
    monkeypatch.setenv('SMALL_DATA', 'synthetic')
    monkeypatch.syspath_prepend(str(tmp_path))
    cfg = Config.fromfile(write_files(tmp_path))
    small = {
        'work_dir': str(tmp_path / 'work'),
        'train_cfg.max_iters': 3,
        'train_cfg.val_interval': 3,
        'default_hooks.logger.interval': 1,
        **runs.OFFLINE,
        'model.warmup_iters': 1,
        'model.rampup_iters': 1,
        'train_dataloader.batch_size': 2,
    }
    cfg.merge_from_dict(small)
    runner = Runner.from_cfg(cfg)
    runner.train()

    assert type(runner.model).__name__ == 'MyMeanTeacher'
    history = runner.message_hub.get_scalar('train/unsup.loss_mse').data[0]
    assert len(history) == 2  # the first iteration is warm-up
    assert history[0] == 0  # w = 0
    assert history[1] > 0
    assert int(runner.model.teacher.updates) == 3  # a copy, then one average a step
    scores = runner.message_hub.log_scalars
    assert {'val/teacher/mIoU', 'val/student/mIoU'} <= set(scores)
