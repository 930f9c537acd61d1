"""Which images to label next, and pseudo-labels as files for annotation tools."""

import csv
import json
import os
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from conftest import NAMES
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_u2pl.analysis.ranking import rank
from mmseg_u2pl.datasets import UnlabeledDataset
from mmseg_u2pl.functional import nearest
from mmseg_u2pl.inference.checkpoint import load_model
from mmseg_u2pl.inference.predict import Inference
from mmseg_u2pl.inference.sources import find_sources, items

TOOLS = Path(__file__).parents[2] / 'tools'


def save(cfg, path, **meta):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=5.0)
    meta = dict(iter=4, cfg=cfg.pretty_text, dataset_meta=tiny.META, **meta)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.fixture
def checkpoint(own_root, tmp_path):
    """A method in the middle of its training, sure of many pixels."""
    return save(runs.config(own_root, tmp_path / 'run'), tmp_path / 'iter_4.pth')


def test_pseudo_labels_as_png_and_coco(checkpoint, own_root, tmp_path, run_tool, capsys):
    for _ in range(2):  # its own files are replaced
        run_tool('export_pseudo_labels.py', checkpoint, '-o', tmp_path / 'out')
    model = load_model(checkpoint).model
    model.before_iter(4, 6)
    areas = np.zeros(3)
    for first in range(0, 6, 2):  # as many as a step selects among
        names = NAMES['unlabeled'][first : first + 2]
        images = [np.asarray(cv2.imread(f'{own_root}/images/train/{name}.png')) for name in names]
        inputs = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
        images = model.data_preprocessor(dict(inputs=inputs))['inputs']
        label, keep, _ = model.pseudo_labels(images, torch.ones_like(images[:, 0]) > 0)['teacher']
        assert 0 < keep.float().mean() < 1
        for name, expected in zip(names, label.where(keep, 255), strict=True):
            mask = cv2.imread(f'{tmp_path}/out/masks/{name}.png', cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(mask, expected)
            areas += np.bincount(expected.flatten(), minlength=256)[:3]
    content = json.loads((tmp_path / 'out' / 'coco.json').read_text())
    assert [image['file_name'] for image in content['images']] == [
        f'{name}.png' for name in NAMES['unlabeled']
    ]
    for index, area in enumerate(areas):
        parts = [a['area'] for a in content['annotations'] if a['category_id'] == index + 1]
        assert sum(parts) == area
    printed = capsys.readouterr().out
    assert 'note' not in printed
    assert f'by teacher, {areas.sum() / (6 * 40 * 48):.1%} of the pixels are reliable' in printed


def test_a_corrected_mask_is_not_replaced(checkpoint, own_root, tmp_path, run_tool, refuses):
    words = ['export_pseudo_labels.py', checkpoint, '-o', tmp_path / 'out', '--num', 2]
    run_tool(*words)
    run_tool(*words)
    mask = tmp_path / f'out/masks/{NAMES["unlabeled"][0]}.png'
    labels = np.array(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED))
    labels[0, 0] = 2 - labels[0, 0] % 2
    cv2.imwrite(str(mask), labels)
    time = (tmp_path / 'out/coco.json').stat().st_mtime - 1  # as after a copy of the folder
    os.utime(mask, (time, time))
    with refuses(f'{mask} was changed after it was written: choose another folder'):
        run_tool(*words)


@pytest.mark.parametrize(
    'labeled',
    [dict(reduce_zero_label=True), dict(values=[[0, 0], [255, 1]]), dict(values=[[1, 1]])],
)
def test_another_encoding_of_the_labeled_masks_is_told(labeled, own_root, run_tool):
    values = labeled.pop('values', None)
    load = dict(type='LoadMask', values=values) if values else dict(type='LoadAnnotations')
    dataset = runs.config(own_root, own_root / 'run').train_dataloader.dataset
    dataset.labeled.update(pipeline=[dict(type='LoadImageFromFile'), load], **labeled)
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    note = runpy.run_path(str(TOOLS / 'export_pseudo_labels.py'))['encoding_note'](cfg)
    assert bool(note) == (values != [[1, 1]])


def test_features_are_means_of_the_last_map(checkpoint, own_root):
    loaded = load_model(checkpoint)
    sources = list(items(find_sources([own_root / 'images/val'])))
    inference = Inference(loaded.model, loaded.config, batch_size=2, features=True)
    for found, source in zip(inference(sources), sources, strict=True):
        image = torch.from_numpy(np.asarray(cv2.imread(str(source.image)))).permute(2, 0, 1)
        inputs = loaded.model.data_preprocessor(dict(inputs=[image]))['inputs']
        with torch.no_grad():
            expected = loaded.model.teacher.backbone(inputs)[-1].mean((2, 3))[0]
        np.testing.assert_allclose(np.asarray(found.feature), expected, rtol=1e-4)


def test_features_of_windows_do_not_depend_on_the_batch_size(checkpoint, own_root):
    found = []
    for batch_size in (1, 3, 5):
        loaded = load_model(checkpoint)
        inference = Inference(
            loaded.model, loaded.config, batch_size=batch_size, features=True, slide=(24, 16)
        )
        images = items(find_sources([own_root / 'images/val']))
        found.append([np.asarray(each.feature) for each in inference(images)])
    assert np.shape(found)[:2] == (3, 3)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-4)


def test_images_to_label_next(checkpoint, own_root, tmp_path, run_tool):
    run_tool('rank_unlabeled.py', checkpoint, '-o', tmp_path / 'out', '--num', 4)
    proposed = UnlabeledDataset(
        data_root=str(own_root),
        data_prefix=dict(img_path='images/train'),
        ann_file=str(tmp_path / 'out' / 'next.txt'),
        pipeline=[],
    )
    paths = [proposed.get_data_info(index)['img_path'] for index in range(len(proposed))]
    assert len(set(paths)) == 4
    with (tmp_path / 'out' / 'next.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['name'] for row in rows] == (tmp_path / 'out' / 'next.txt').read_text().split()
    names = [*NAMES['labeled'], *NAMES['unlabeled']]  # the labeled ones count, and are not proposed
    known = find_sources([own_root / f'images/train/{name}.png' for name in names])
    loaded = load_model(checkpoint)
    inference = Inference(loaded.model, loaded.config, features=True)
    features = np.stack([np.asarray(found.feature) for found in inference(items(known))])
    expected = rank(features, len(NAMES['labeled']), 4)
    assert [row['name'] for row in rows] == [NAMES['unlabeled'][e.position] for e in expected]
    assert [float(row['distance']) for row in rows] == [one.distance for one in expected]
    assert np.asarray(cv2.imread(str(tmp_path / 'out' / 'next.png'))).shape[1] > 1000

    run_tool('rank_unlabeled.py', checkpoint, '-o', tmp_path / 'all', own_root / 'images')
    without_mask = {f'train/{name}' for name in NAMES['unlabeled']}
    assert set((tmp_path / 'all' / 'next.txt').read_text().split()) == without_mask


def test_mistakes_are_one_line(checkpoint, own_root, tmp_path, run_tool, refuses):
    (tmp_path / 'clip.mp4').write_bytes(b'')
    with refuses('clip.mp4. is a video: give the images'):
        run_tool('rank_unlabeled.py', checkpoint, tmp_path / 'clip.mp4', '-o', tmp_path)
    (own_root / 'coco.json').write_text('{"images": []}')
    with refuses('coco.json is of another origin'):
        run_tool('export_pseudo_labels.py', checkpoint, '-o', own_root)
    (own_root / 'coco.json').unlink()
    with refuses('all of these images have a mask already'):
        run_tool('rank_unlabeled.py', checkpoint, own_root / 'images/val', '-o', tmp_path)
    with refuses('files of another origin'):
        run_tool('export_pseudo_labels.py', checkpoint, '-o', own_root)
    cfg = runs.config(own_root, tmp_path / 'plain')
    cfg.model = dict(type='EncoderDecoder', **tiny.networks())
    cfg.train_dataloader.dataset.unlabeled = None
    plain = save(cfg, tmp_path / 'plain.pth')
    with refuses('EncoderDecoder makes no pseudo-labels'):
        run_tool('export_pseudo_labels.py', plain, '-o', tmp_path)
    with refuses('no unlabeled images'):
        run_tool('rank_unlabeled.py', plain, '-o', tmp_path)


def test_images_of_the_test_are_not_proposed(own_root, tmp_path, run_tool, refuses):
    cfg = runs.config(own_root, tmp_path / 'run')
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    checkpoint = save(cfg, tmp_path / 'iter_4.pth')
    with refuses('all of these images have a mask already'):  # those of val are the test's, too
        run_tool('rank_unlabeled.py', checkpoint, own_root / 'images/val', '-o', tmp_path)


def test_masks_of_earlier_runs_stay_known(
    checkpoint, own_root, tmp_path, run_tool, refuses, monkeypatch
):
    """A correction is protected, whether a later run had other images or was stopped."""
    out, names = tmp_path / 'out', [f'{name}.png' for name in NAMES['unlabeled']]
    words = ['export_pseudo_labels.py', checkpoint, '-o', out]
    run_tool(*words)
    before = read_coco(out)
    assert sorted(before) == sorted(names)
    run_tool(*words, '--num', 2)  # u0 and u3, which are one group now
    after = read_coco(out)
    assert sorted(after) == sorted(names)
    assert [name for name in names if before[name] != after[name]] == [names[0], names[3]]

    calls = 0

    def stop(*maps):
        nonlocal calls
        if (calls := calls + 1) == 2:
            raise KeyboardInterrupt
        return nearest(*maps)

    with monkeypatch.context() as patch:
        patch.setattr('mmseg_u2pl.functional.nearest', stop)
        with pytest.raises(SystemExit):
            run_tool(*words)
    stopped = read_coco(out)
    assert sorted(stopped) == sorted(names)
    assert stopped[names[0]] == before[names[0]]
    assert stopped[names[3]] == after[names[3]]
    mask = out / f'masks/{names[-1]}'
    labels = np.array(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED))
    cv2.imwrite(str(mask), 2 - labels % 2)
    with refuses(f'{mask} was changed after it was written'):
        run_tool(*words)


def read_coco(out):
    """Hash and regions of each image of an export."""
    content = json.loads((out / 'coco.json').read_text())
    for part in ('images', 'annotations'):
        assert [each['id'] for each in content[part]] == list(range(1, len(content[part]) + 1))
    return {
        image['file_name']: (
            image['mask_sha256'],
            [a['segmentation'] for a in content['annotations'] if a['image_id'] == image['id']],
        )
        for image in content['images']
    }
