"""What the documents say of a user's own data, as it stands there, works on such a folder."""

import glob
import json
import re
import shlex

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from runs import OFFLINE, words
from test_command_lines import ROOT

pytest.importorskip('efficientnet_lite_pytorch')


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


def found(arguments):
    """As a shell passes them on: files instead of patterns."""
    return [w for word in arguments for w in (glob.glob(word) if '*' in word else [word])]


def test_commands_and_prediction(tmp_path, run_tool, capsys):
    """The blocks of README.md's sections "Your own data" and "Predict", with other paths."""
    write_folder(tmp_path / 'mine')
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    (block,) = re.findall(r'```bash\n(python tools/make_config.py /data.*?)```', text, re.S)
    block = block.replace('/data/mine', f'{tmp_path}/mine')
    block = re.sub(r'(?<= )crack/|(?<=--out )crack|work_dirs/', rf'{tmp_path}/\g<0>', block)
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    work_dir = tmp_path / 'work_dirs/crack'
    flags = ['--cfg-options', *words(OFFLINE)]
    more = {
        'make_config.py': ['--iters', 2],
        'browse_dataset.py': ['--out', tmp_path / 'browse', *flags],
        'train.py': ['--work-dir', work_dir, *flags],
        'test.py': ['--work-dir', tmp_path / 'test', *flags],
    }
    for (python, tool, *arguments), name in zip(commands, more, strict=True):
        assert (python, tool) == ('python', f'tools/{name}')
        run_tool(name, *found(arguments), *more[name])
        if name == 'make_config.py':
            printed = capsys.readouterr().out
            assert f'tools/test.py {tmp_path}/crack/crack.py work_dirs/crack/best_*.pth' in printed
            assert 'about 1 min' in printed  # as measured
            assert 'the largest that trains in 60 minutes' in printed
    assert list((tmp_path / 'browse').glob('*.png'))
    (result,) = (tmp_path / 'test').glob('*/*.json')
    assert 'teacher/IoU.crack' in result.read_text()

    (predict,) = re.findall(r'```bash\npython tools/predict.py (.*?)```', text, re.S)
    predict = predict.replace('work_dirs/', f'{tmp_path}/work_dirs/')
    arguments = found(shlex.split(predict.replace('/data/mine', f'{tmp_path}/mine')))
    arguments[arguments.index('predicted')] = str(tmp_path / 'predicted')
    run_tool('predict.py', *arguments)
    for name, shape in (('a', (90, 120)), ('X', (150, 100)), ('y z', (150, 100))):
        path = tmp_path / f'predicted/masks/{name}.png'
        mask = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        assert mask.shape == shape
        assert set(np.unique(mask)) <= {0, 1}
        assert (tmp_path / f'predicted/overlay/{name}.png').is_file()

    (predict,) = re.findall(r'```python\n(import mmseg_u2pl.*?)```', text, re.S)
    for path, real in (
        ('work_dirs/crack/iter_1200.pth', work_dir / 'iter_2.pth'),
        ('/data/mine/images', tmp_path / 'mine/images'),
    ):
        assert f"'{path}'" in predict
        predict = predict.replace(f"'{path}'", repr(str(real)))
    capsys.readouterr()
    exec(predict, {})
    assert 'a (90, 120)\n' in capsys.readouterr().out

    # what a folder's masks were predicted by agrees with them all
    folders = ('--images', tmp_path / 'mine/images', '--masks', tmp_path / 'predicted/masks')
    config = tmp_path / 'crack/crack.py'
    (best,) = work_dir.glob('best_*.pth')
    run_tool('test.py', config, best, '--work-dir', tmp_path / 'folder', *folders, *flags)
    (result,) = (tmp_path / 'folder').glob('*/*.json')
    assert json.loads(result.read_text())['teacher/aAcc'] == 100
    with pytest.raises(SystemExit):
        run_tool('test.py', config, work_dir / 'iter_2.pth', '--images', tmp_path / 'mine/images')
    assert 'go together' in capsys.readouterr().err


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
    # the method has counted the labels and has seen unlabeled images
    assert runner.model.alignment.label_count.sum() > 0
    assert runner.message_hub.get_scalar('train/unsup.loss_ce').current() > 0
