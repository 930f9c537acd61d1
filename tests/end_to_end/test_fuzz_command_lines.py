"""Command lines with random bad words end with exit code 2 and words, never with a traceback."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/u2pl/u2pl_effnet-lite0_small.py'
FLAGS = {
    'train.py': ['--resume', '--amp', '--auto-scale', '--split', '--data', '--cfg-options', '--launcher'],
    'test.py': ['--images', '--masks', '--tta', '--cfg-options', '--split'],
    'check_data.py': ['--cfg-options', '--split', '--data'],
    'predict.py': ['-o', '--config', '--predictor', '--device'],
    'export.py': ['-o', '--config', '--predictor', '--format'],
    'report.py': ['--html', '--gap', '--predictor', '--write'],
    'make_splits.py': ['-o', '--labeled', '--method', '--seed', '--masks'],
}  # fmt: skip
WORDS = (
    'missing.py', 'folder', 'empty.py', 'broken.py', 'binary.pth', 'list.pth', 'nonsense', 'a=b', 'model.foo=1',
    'max_iters=abc', '-3', '', 'ä', '--nonsense',
)  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('words')
    (root / 'folder').mkdir()
    (root / 'empty.py').touch()
    (root / 'broken.py').write_text('model = dict(')
    (root / 'binary.pth').write_bytes(bytes(range(256)))
    torch.save([1, 2], root / 'list.pth')
    return root


@pytest.mark.parametrize('tool', FLAGS)
def test_any_words(tool, folder, run_tool, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    words = st.lists(st.sampled_from([*WORDS, *FLAGS[tool]]), min_size=1, max_size=5)

    @settings(suppress_health_check=list(HealthCheck))
    @given(words)
    def fuzz(words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_tool(tool, *words)
        said = capsys.readouterr().err
        assert stop.value.code == 2, said
        assert 'Traceback' not in said
        assert said.strip()

    fuzz()
