"""Which files a command line means, and configs that are read without being run."""

from types import SimpleNamespace

import pytest
import tiny
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs

from mmseg_u2pl.datasets.prediction import pipeline_of, prediction_pipeline
from mmseg_u2pl.inference.checkpoint import load_model, parse_config
from mmseg_u2pl.inference.sources import find_sources


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_patterns_and_lists_keep_names(tmp_path, monkeypatch):
    touch(tmp_path, 'in/b.JPG', 'in/a.b.png', 'in/s/c.tif', 'in/notes.md', 'in/s/clip.mp4')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'list.txt').write_text('in/b.JPG\n\n./in/s/c.tif\n')
    for words, names in (
        (['in'], ['a.b', 'b', 's/c', 's/clip']),
        (['in/s/c.tif', 'in/b.JPG'], ['c', 'b']),
        (['in/**/*.tif'], ['s/c']),
        (['in/s/*'], ['c', 'clip']),
        (['list.txt'], ['in/b', 'in/s/c']),
        (['in', 'in/b.JPG'], ['a.b', 'b', 's/c', 's/clip']),  # the same file twice
    ):
        assert [source.name for source in find_sources(words)] == names


def test_what_cannot_be_meant(tmp_path, monkeypatch):
    touch(tmp_path, 'one/x.png', 'two/x.jpg', 'text.md', 'empty/none', 'clip.mp4')
    touch(tmp_path, 'frames/clip/000000.png')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'list.txt').write_text('one/x.png\none/y.png\n')
    for words, kind, says in (
        (['one', 'two'], ValueError, "'one/x.png' and 'two/x.jpg' would both be written as 'x'"),
        (['three'], FileNotFoundError, "no file or folder 'three'"),
        (
            ['frames', 'clip.mp4'],
            ValueError,
            "frames/clip/000000.png' could be written as a frame of",
        ),
        (['one/*.tif'], FileNotFoundError, 'no file matches'),
        (['text.md'], ValueError, 'neither an image nor a video'),
        (['empty'], ValueError, 'no image found'),
        (['list.txt'], FileNotFoundError, "line 2: no file 'one/y.png'"),
    ):
        tiny.assert_raises(kind, lambda words=words: find_sources(words), says)


def test_a_dumped_config_is_read_as_it_was():
    content = dict(
        model=dict(type='A', sizes=(1, [2.5, -3]), none=None, yes=True, text="it's"),
        odd={'a b': dict(c={'d-e': 1}), 3: (4,)},
        big=float('inf'),
        small=-float('inf'),
        pipeline=[dict(type='B'), [dict(type='C')]],
    )
    assert parse_config(Config(content).pretty_text) == content


@pytest.mark.parametrize(
    'line',
    [
        "a = __import__('os').system('touch pwned')",
        "a = dict(b=[open('pwned', 'w')])",
        'import os',
        "a = dict(type='subprocess.run', args=['touch', 'pwned'])",
        "a = {'type': 'os.system'}",
        'a = [x for x in (1, 2)]',
        "a = f'{1}'",
        'a.b = 1',
        'a = b',
        "a = dict(**{'b': 1})",
        "if True:\n    a = dict(type='B')",
    ],
)
def test_code_is_refused(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r'(?s)line 2, more than plain values.*--config'):
        parse_config(f'first = 1\n{line}\n')
    assert not list(tmp_path.iterdir())


def test_checkpoints_that_do_not_fit(tmp_path):
    path, config = tmp_path / 'x.pth', tmp_path / 'config.py'
    model = tiny.ready('U2PL')
    cfg = Config(dict(model=tiny.u2pl_config(num_classes=5)))
    cfg.dump(config)
    for content, settings, kind, says in (
        (dict(state_dict=model.state_dict()), {}, ValueError, 'no config inside'),
        (
            dict(state_dict=model.state_dict(), meta=dict(cfg=cfg.pretty_text)),
            {},
            ValueError,
            'does not fit',
        ),
        (dict(state_dict=model.state_dict()), dict(config=config), ValueError, 'does not fit'),
        (dict(state_dict={}), dict(config='none.py'), FileNotFoundError, 'none.py does not exist'),
    ):
        torch.save(content, path)
        tiny.assert_raises(kind, lambda s=settings: load_model(path, **s), says)


def test_files_that_are_no_checkpoints_are_named(tmp_path):
    path = tmp_path / 'x.pth'
    for content, says in (
        (b'', 'x.pth cannot be read as a checkpoint: it is empty'),
        (b'error 404', 'x.pth cannot be read as a checkpoint'),
    ):
        path.write_bytes(content)
        tiny.assert_raises(ValueError, lambda: load_model(path), says)
    torch.save([1, 2], path)
    tiny.assert_raises(ValueError, lambda: load_model(path), 'x.pth holds a list, not a checkpoint')


def test_what_is_no_checkpoint_is_refused_without_advice_to_trust_it(tmp_path, refuses, run_tool):
    for name in ('photo.jpg', 'street.py'):
        (tmp_path / name).write_bytes(b'x')
        with refuses(f'{name} is no checkpoint'):
            run_tool('predict.py', tmp_path / name, tmp_path, '-o', tmp_path / 'out')
    pickled = tmp_path / 'other.pth'
    torch.save(dict(model=SimpleNamespace()), pickled)
    with refuses('other.pth is damaged, or holds more than data'):
        run_tool('predict.py', pickled, tmp_path, '-o', tmp_path / 'out')


def test_two_checkpoints_of_a_pattern_are_named(tmp_path, run_tool, capsys, refuses):
    paths = [tmp_path / name for name in ('best_a_iter_1.pth', 'best_a_iter_2.pth')]
    for path in paths:
        path.touch()
    with pytest.raises(SystemExit):
        run_tool('test.py', 'config.py', *paths)
    assert (
        f'2 files where one checkpoint is expected: {paths[0]}, {paths[1]}'
        in capsys.readouterr().err
    )
    with refuses('best_a_iter_2.pth.* is a checkpoint where images are expected'):
        run_tool('predict.py', *paths, tmp_path, '-o', tmp_path / 'out')


def test_pipelines_that_name_classes_are_read(monkeypatch):
    cfg = dict(
        test_pipeline=[
            dict(type=LoadImageFromFile),
            dict(type=LoadAnnotations),
            dict(type=PackSegInputs),
        ]
    )
    kept = [step['type'] for step in prediction_pipeline(cfg)]
    assert kept == [LoadImageFromFile, PackSegInputs]


def test_a_pipeline_inside_wrappers_is_found():
    part = dict(
        type='BaseSegDataset',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )
    cfg = Config(dict(val_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[part]))))
    assert pipeline_of(cfg, masks=True) == part['pipeline']
