"""The commands of docs/tutorial.md, one after the other, with two iterations for its 300."""

import glob
import re
import shlex
import subprocess
from types import SimpleNamespace

import processes
import pytest
from test_command_lines import ROOT

from mmseg_u2pl.analysis import experiment_worker
from mmseg_u2pl.prepare.make_config import pace

pytest.importorskip('efficientnet_lite_pytorch')
pytest.importorskip('onnxruntime')


@pytest.fixture
def there(tmp_path, monkeypatch):
    """Commands run in an empty folder; processes start fast, and the machine is of infinite speed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setattr(pace, 'measure_pace', lambda *_: 0.0)
    forked = SimpleNamespace(**{**vars(subprocess), 'Popen': processes.Forked})
    monkeypatch.setattr(experiment_worker, 'subprocess', forked)
    return tmp_path


def test_every_command_works_and_leaves_what_the_page_says(there, run_tool, capsys):
    text = (ROOT / 'docs/tutorial.md').read_text(encoding='utf-8')
    commands = [
        shlex.split(line)
        for block in re.findall(r'```bash\n(.*?)```', text, re.S)
        for line in re.split(r'\n(?=python )', block.strip())
    ]
    assert [words[1].removeprefix('tools/') for words in commands] == [
        '-c', 'make_config.py', 'browse_dataset.py', 'run_pair.py', 'predict.py', 'export.py',
    ]  # fmt: skip
    for python, tool, *words in commands:
        assert python == 'python'
        if tool == '-c':
            counts = {'num_unlabeled=48': 'num_unlabeled=6', 'num_test=20': 'num_test=3'}
            for many, few in counts.items():
                assert many in words[0]
                words[0] = words[0].replace(many, few)
            exec(words[0], {})
            continue
        words = ['2' if word == '300' else word for word in words]
        words = [w for word in words for w in (glob.glob(word) if '*' in word else [word])]
        run_tool(tool.removeprefix('tools/'), *words)
    assert list((there / 'browse').glob('*.png'))
    page = (there / 'pair/report.html').read_text(encoding='utf-8')
    assert 'pavement' in page
    images = {path.stem for path in (there / 'scenes/img_dir/test').iterdir()}
    assert {path.stem for path in (there / 'predicted/masks').iterdir()} == images
    assert {path.stem for path in (there / 'predicted/overlay').iterdir()} == images
    assert (there / 'exported/model.onnx').is_file()
    assert 'largest difference' in capsys.readouterr().out
