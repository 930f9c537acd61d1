"""The README's own-data config, as it stands there, trains on such a folder."""

import re

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from test_command_lines import ROOT

pytest.importorskip('efficientnet_lite_pytorch')


def write_folder(root):
    """Five labeled and three further images of another size, one of each mask left out."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks', 'more_images'):
        (root / folder).mkdir(parents=True)
    for name in 'abcde':
        cv2.imwrite(str(root / f'images/{name}.jpg'), rng.integers(0, 256, (90, 120, 3)))
        mask = rng.integers(0, 2, (90, 120), dtype=np.uint8)
        mask[:5] = 255
        cv2.imwrite(str(root / f'masks/{name}.png'), mask)
    for name in ('X.PNG', 'y z.jpeg', 'w.jpg'):
        cv2.imwrite(str(root / 'more_images' / name), rng.integers(0, 256, (150, 100, 3)))
    (root / 'labeled.txt').write_text('a\nb\nc\n')
    (root / 'val.txt').write_text('d\ne\n')


def test_own_data(tmp_path):
    text = (ROOT / 'README.md').read_text()
    config = next(c for c in re.findall(r'```python\n(.*?)```', text, re.S) if '_base_' in c)
    assert len(config.splitlines()) <= 15
    write_folder(tmp_path / 'mine')
    path = tmp_path / 'my_config.py'
    path.write_text(config.replace('/data/mine', str(tmp_path / 'mine')))
    cfg = Config.fromfile(path)
    cfg.work_dir = str(tmp_path / 'work')
    cfg.merge_from_dict(
        {
            'train_cfg.max_iters': 2,
            'model.warmup_iters': 1,
            'model.backbone.pretrained': False,
            **{f'{s}_dataloader.num_workers': 0 for s in ('train', 'val', 'test')},
            **{f'{s}_dataloader.persistent_workers': False for s in ('train', 'val', 'test')},
        }
    )
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.train_dataloader.dataset.lengths == (3, 3)
    metrics = runner.test()
    assert {'teacher/IoU.crack', 'student/IoU.background'} <= set(metrics)
    # the recipe knows the classes' shares of the labels and has seen unlabeled images
    assert runner.model.class_share.sum() == pytest.approx(1)
    assert runner.model.mean_prob.sum() == pytest.approx(1, abs=1e-4)
