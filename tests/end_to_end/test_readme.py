"""What the documents say of a user's own data, as it stands there, works on such a folder."""

import re
import shlex

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from test_command_lines import ROOT, call

pytest.importorskip('efficientnet_lite_pytorch')
OFFLINE = {
    'model.backbone.pretrained': False,
    **{f'{s}_dataloader.num_workers': 0 for s in ('train', 'val', 'test')},
    **{f'{s}_dataloader.persistent_workers': False for s in ('train', 'val', 'test')},
}


def write_folder(root):
    """Five labeled and three further images of other sizes and suffixes, ignored pixels in masks."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    for name in 'abcde':
        cv2.imwrite(str(root / f'images/{name}.jpg'), rng.integers(0, 256, (90, 120, 3)))
        mask = rng.integers(0, 2, (90, 120), dtype=np.uint8)
        mask[:5] = 255
        cv2.imwrite(str(root / f'masks/{name}.png'), mask)
    for name in ('X.PNG', 'y z.jpeg', 'w.jpg'):
        cv2.imwrite(str(root / 'images' / name), rng.integers(0, 256, (150, 100, 3)))
    (root / 'labeled.txt').write_text('a\nb\nc\n')
    (root / 'val.txt').write_text('d\ne\n')


def test_the_two_commands(tmp_path):
    write_folder(tmp_path / 'mine')
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    (block,) = re.findall(r'```bash\n(python tools/make_config.*?)```', text, re.S)
    block = block.replace('/data/mine', str(tmp_path / 'mine'))
    block = re.sub(r'(?<= )crack/|(?<=--out )crack', lambda m: f'{tmp_path}/{m[0]}', block)
    make, train = (shlex.split(line, comments=True)[1:] for line in block.splitlines())
    code, output = call(tmp_path, *make, '--iters', 2)
    assert code == 0, output
    options = [f'{key}={value}' for key, value in OFFLINE.items()]
    work_dir = tmp_path / 'work'
    code, output = call(tmp_path, *train, '--work-dir', work_dir, '--cfg-options', *options)
    assert code == 0, output
    assert (work_dir / 'iter_2.pth').is_file()
    assert 'teacher/IoU.crack' in output


def test_by_hand(tmp_path):
    text = (ROOT / 'docs/own_data.md').read_text(encoding='utf-8')
    config = next(c for c in re.findall(r'```python\n(.*?)```', text, re.S) if '_base_' in c)
    write_folder(tmp_path / 'mine')
    path = tmp_path / 'my_config.py'
    path.write_text(config.replace('/data/mine', str(tmp_path / 'mine')))
    cfg = Config.fromfile(path)
    cfg.work_dir = str(tmp_path / 'work')
    cfg.merge_from_dict({'train_cfg.max_iters': 2, 'model.warmup_iters': 1, **OFFLINE})
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.train_dataloader.dataset.lengths == (3, 3)
    metrics = runner.test()
    assert {'teacher/IoU.crack', 'student/IoU.background'} <= set(metrics)
    # the recipe knows the classes' shares of the labels and has seen unlabeled images
    assert runner.model.class_share.sum() == pytest.approx(1)
    assert runner.message_hub.get_scalar('train/unsup.loss_ce').current() > 0
