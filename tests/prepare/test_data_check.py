"""``tools/check_data.py`` decodes everything and names every problem."""

import re

import cv2
import numpy as np
import pytest
import tiny
from mmengine.config import Config
from PIL import Image

from mmseg_u2pl.prepare.data_check import check_data

LOAD_IMAGE, LOAD_MASK = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')


def config(root, **labeled):
    prefix = dict(img_path='images/val', seg_map_path='masks/val')
    val = tiny.labeled_config(
        root, data_prefix=prefix, ann_file='', pipeline=[LOAD_IMAGE, LOAD_MASK]
    )
    semi = dict(
        type='SemiDataset',
        labeled=tiny.labeled_config(root, **labeled),
        unlabeled=tiny.unlabeled_config(root),
    )
    return dict(
        default_scope='mmseg',
        custom_imports=dict(imports=['mmseg_u2pl']),
        train_dataloader=dict(dataset=semi),
        val_dataloader=dict(dataset=val),
        test_dataloader=dict(dataset=val),
    )


def reports(root, **labeled):
    return {report.name: report for report in check_data(Config(config(root, **labeled)))}


def cut_off(path, keep=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def test_whole_data_have_no_problems_and_are_counted(data_root):
    found = reports(data_root)
    assert list(found) == ['labeled', 'unlabeled', 'val']  # the test set is the validation set
    assert [(r.sizes, r.num_masks) for r in found.values()] == [
        ({(48, 40): 4}, 4),
        ({(48, 40): 6}, 0),
        ({(48, 40): 3}, 3),
    ]
    assert not any(report.problems for report in found.values())


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp', '.tif', '.webp'])
@pytest.mark.parametrize('keep', [0, 0.01, 0.5, 0.98])
def test_a_part_of_an_image_is_found_in_any_format(tmp_path, suffix, keep):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    path = tmp_path / f'part{suffix}'
    path.write_bytes(cv2.imencode(suffix, noise)[1].tobytes())
    prefix = dict(img_path=str(tmp_path))
    dataset = dict(type='UnlabeledDataset', data_prefix=prefix, pipeline=[LOAD_IMAGE])
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    (report,) = check_data(cfg)
    assert (report.sizes, report.problems) == ({(80, 60): 1}, [])
    cut_off(path, keep)
    (report,) = check_data(cfg)
    assert not report.sizes
    assert len(report.problems) == 1
    assert str(path) in report.problems[0]


def test_an_image_that_mmcv_cannot_load_is_found_though_pil_can(tmp_path):
    Image.fromarray(np.zeros((4, 5), np.float32)).save(tmp_path / 'float.tif')
    prefix = dict(img_path=str(tmp_path))
    dataset = dict(type='UnlabeledDataset', data_prefix=prefix, pipeline=[LOAD_IMAGE])
    (report,) = check_data(Config(dict(train_dataloader=dict(dataset=dataset))))
    assert 'float.tif' in report.problems[0]


def test_every_problem_of_every_data_set_is_named(own_root, run_tool, capsys):
    images, masks = own_root / 'images', own_root / 'masks'
    cut_off(images / 'train' / 'u1.png')
    cut_off(masks / 'train' / 'l0.png')
    tiny.set_label(own_root, 9, 'l1')
    (masks / 'train' / 'l3.png').unlink()
    cv2.imwrite(str(masks / 'val' / 'v2.png'), np.zeros((40, 47), np.uint8))
    path = own_root / 'config.py'
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in config(own_root).items()))
    with pytest.raises(SystemExit) as error:
        run_tool('check_data.py', path)
    assert error.value.code == 1
    problems = [line for line in capsys.readouterr().out.splitlines() if str(own_root) in line]
    assert len(problems) == 5
    for line, (name, file, reason) in zip(
        problems,
        [
            ('labeled:', masks / 'train' / 'l0.png', ''),
            ('labeled:', masks / 'train' / 'l1.png', 'the label 9'),
            ('labeled:', masks / 'train' / 'l3.png', 'No such file'),
            ('unlabeled:', images / 'train' / 'u1.png', ''),
            ('val:', masks / 'val' / 'v2.png', '47x40 pixels'),
        ],
        strict=True,
    ):
        assert line.startswith(name)
        assert str(file) in line
        assert reason in line


def test_the_tool_prints_a_table_and_passes_the_split_on(
    data_root, tmp_path, run_tool, capsys, monkeypatch
):
    monkeypatch.setenv('SPLIT', 'of before')  # and the tool's is undone after the test
    path = tmp_path / 'config.py'
    text = '\n'.join(f'{key} = {value!r}' for key, value in config(data_root).items())
    text = text.replace("'labeled.txt'", "'{{$SPLIT:none}}.txt'")
    path.write_text(f"{text}\nsplit = '{{{{$SPLIT:none}}}}'")
    run_tool('check_data.py', path, '--split', 'labeled')
    output = capsys.readouterr().out
    for row in ('labeled 4 4 0 48x40', 'unlabeled 6 0 0 48x40', 'val 3 3 0 48x40'):
        assert any(row.split() == line.replace('│', ' ').split() for line in output.splitlines())
    with pytest.raises(SystemExit):
        run_tool('check_data.py', path, '--split', 'nowhere')
    error = capsys.readouterr().err
    assert re.fullmatch(r'error: .*labeled\.ann_file: no list .*nowhere\.txt.*\n', error)
