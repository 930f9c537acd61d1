"""What pip installs: the package with tools and configs, as one command."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import mmseg_u2pl
from mmseg_u2pl import __main__ as command

ROOT = Path(__file__).parents[2]
PARTS = ('mmseg_u2pl', 'configs', 'tools', 'setup.py', 'pyproject.toml', 'README.md', 'MANIFEST.in')


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A folder with the package of a wheel that was built from the source distribution."""
    root = tmp_path_factory.mktemp('package')
    source = root / 'source'
    for name in (*PARTS, 'model-index.yml', 'LICENSE'):
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns('__pycache__', '.mim', '*.egg-info')
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            source.mkdir(exist_ok=True)
            shutil.copy2(ROOT / name, source)
    python = [sys.executable, '-W', 'ignore']
    build = "from setuptools import build_meta; print(build_meta.build_sdist('..'))"
    subprocess.run([*python, '-c', build], cwd=source, check=True, capture_output=True)
    (sdist,) = root.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        archive.extractall(root / 'unpacked')  # ours; Python 3.11.2 has no filter
    (unpacked,) = (root / 'unpacked').iterdir()
    flags = ['--no-deps', '--no-build-isolation', '--no-index', '--no-compile', '--quiet']
    target = root / 'site'
    subprocess.run(
        [*python, '-m', 'pip', 'install', *flags, '--target', target, str(unpacked)], check=True
    )
    return target


def run(installed, *words):
    code = f'import sys; sys.path.insert(0, {str(installed)!r}); import mmseg_u2pl.__main__ as m; m.main()'
    environment = {**os.environ, 'PYTHONPATH': str(installed)}
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, *map(str, words)],
        cwd=installed, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_wheel_has_every_tool_and_config(installed):
    inside = installed / 'mmseg_u2pl/.mim'
    for kind, pattern in (('tools', '*.*'), ('configs', '**/*.*')):
        there = {p.relative_to(ROOT / kind) for p in (ROOT / kind).glob(pattern)}
        there = {path for path in there if '__pycache__' not in path.parts}
        assert there
        assert {p.relative_to(inside / kind) for p in (inside / kind).glob(pattern)} == there
    for path in (
        'prepare/make_config/base.template',
        'analysis/page.html',
        'inference/model_card.md.j2',
    ):
        assert (installed / 'mmseg_u2pl' / path).is_file()
    assert (installed / 'bin/mmseg-u2pl').is_file()


def test_the_command_lists_and_runs_tools(installed, tmp_path):
    listed = run(installed, '--help')
    assert listed.returncode == 0
    names = {path.stem.replace('_', '-') for path in (ROOT / 'tools').glob('*.py')}
    assert {line.split()[0] for line in listed.stdout.splitlines()[2:]} == names
    done = run(installed, 'train', 'mmseg_u2pl::u2pl/u2pl_effnet-lite0_small.py')
    assert done.returncode == 2  # the config was found and loaded, its data were not
    assert 'data/camvid' in done.stderr
    assert 'Traceback' not in done.stderr
    shown = run(installed, 'make-config', '--help').stdout
    assert shown.startswith('usage: mmseg-u2pl make-config ')
    assert '  mmseg-u2pl make-config mine/images mine/masks' in shown
    assert '.py mine' not in shown


def test_an_unknown_tool_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['mmseg-u2pl', 'trian'])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2
    assert "no tool 'trian'" in capsys.readouterr().err


def test_this_is_the_version():
    lines = (ROOT / 'CITATION.cff').read_text().splitlines()
    assert f'version: {mmseg_u2pl.__version__}' in lines
