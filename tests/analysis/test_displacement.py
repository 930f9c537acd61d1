"""Displacements by hand, and the tool on a tiny data set."""

import json
import runpy
from pathlib import Path

import pytest
import tiny
import torch
from mmengine.config import Config

TOOL = runpy.run_path(str(Path(__file__).parents[2] / 'tools/displacement.py'))
agreement, displacement = TOOL['agreement'], TOOL['displacement']


@pytest.mark.parametrize('shift', [(0, 0), (1, -2), (-4, 4)])
def test_a_known_shift_is_found(shift):
    target = torch.randint(0, 3, (24, 30))
    counts = agreement(target.roll(shift, (0, 1)), target)
    assert counts.shape == (9, 9)
    assert displacement(counts) == shift
    assert counts.max() == (24 - 8) * (30 - 8)


def test_counts_by_hand():
    target = torch.tensor([[9, 9, 9, 9], [9, 1, 255, 9], [9, 9, 9, 9]])
    prediction = torch.tensor([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 2, 0]])
    # the one labeled pixel inside, (1, 1), is 1; prediction has 1 at (0, 2), (1, 0), (2, 1)
    expected = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert agreement(prediction, target, reach=1).tolist() == expected


def test_the_smallest_of_equal_shifts_counts():
    assert displacement(torch.tensor([[5, 0, 0], [0, 0, 5], [0, 0, 0]])) == (0, 1)
    assert displacement(torch.ones(9, 9)) == (0, 0)


def test_the_tool_prints_a_line_a_size(data_root, tmp_path, run_tool, capsys):
    preprocessor = dict(
        type='SemiDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, grid=dict(stride=8)
    )
    dataset = tiny.labeled_config(
        data_root,
        data_prefix=dict(img_path='images/val', seg_map_path='masks/val'),
        ann_file='',
        pipeline=[
            dict(type=kind) for kind in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')
        ],
    )
    config = dict(
        model=dict(type='EncoderDecoder', data_preprocessor=preprocessor, **tiny.networks()),
        val_dataloader=dict(dataset=dataset),
        default_scope='mmseg',
    )
    Config(config).dump(tmp_path / 'config.py')
    run_tool('displacement.py', tmp_path / 'config.py', '--sizes', '40x48', '41x50', '--limit', 2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('{')]
    on, off = map(json.loads, lines)
    assert (on['size'], on['padded_to'], on['images']) == ([40, 48], [40, 48], 2)
    assert (on['labels_changed'], on['logits_changed']) == (0, 0)
    assert on['miou']['padded'] == on['miou']['unpadded']
    assert (off['size'], off['padded_to']) == ([41, 50], [48, 56])
    assert off['logits_changed'] > 0
    assert set(off['displacement']) == {'padded', 'unpadded', 'unpadded from padded'}
