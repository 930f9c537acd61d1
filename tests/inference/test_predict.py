"""Predictions of folders: equal to mmseg's, under the names and at the sizes of the images."""

import json
import os
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from mmcv import VideoReader
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from PIL import Image

import mmseg_u2pl
from mmseg_u2pl.functional import entropy_map
from mmseg_u2pl.inference import rows, writing
from mmseg_u2pl.inference.checkpoint import load_model
from mmseg_u2pl.inference.predict import Inference
from mmseg_u2pl.inference.sources import find_sources, items

SIZES = {'a': (40, 48), 'b': (33, 51), 'sub/c': (40, 48), 'sub/d.e': (1, 1)}


def write_images(folder):
    """Images of odd sizes, one of them gray, one with alpha, one of 16 bits."""
    rng = np.random.default_rng(0)
    for index, (name, size) in enumerate(SIZES.items()):
        channels = [(3,), (), (4,), (3,)][index]
        kind = np.uint16 if index == 3 else np.uint8
        image = rng.integers(0, np.iinfo(kind).max, (*size, *channels), dtype=kind)
        path = folder / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    return folder


def settings(root):
    """A tiny config with a Resize, a grid of 4 pixels, and test-time views at two scales."""
    cfg = runs.config(root, root / 'work')
    resize = dict(type='Resize', scale=(80, 36), keep_ratio=True)
    cfg.test_pipeline = [cfg.test_pipeline[0], resize, *cfg.test_pipeline[1:]]
    resizes = [dict(resize, scale=scale) for scale in ((80, 36), (120, 50))]
    flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
    views = [resizes, flips, [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]]
    cfg.tta_pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='TestTimeAug', transforms=views),
    ]
    cfg.model.data_preprocessor = dict(
        type='SemiDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True,
        size=tiny.CROP, pad_val=0, seg_pad_val=255, grid=dict(stride=8),
    )  # fmt: skip
    return cfg


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A checkpoint, its config, and a folder of images."""
    root = tmp_path_factory.mktemp('predict')
    cfg = settings(root)
    model = tiny.ready('U2PL')
    cfg.dump(root / 'tiny.py')
    meta = dict(cfg=cfg.pretty_text, dataset_meta=tiny.META)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), root / 'tiny.pth')
    return root, write_images(root / 'images')


def test_masks_are_those_of_mmseg(made):
    root, images = made
    model = init_model(str(root / 'tiny.py'), str(root / 'tiny.pth'), device='cpu')
    found = {}
    for batch_size in (1, 3):
        predictions = mmseg_u2pl.predict(root / 'tiny.pth', images, batch_size=batch_size)
        found = {prediction.name: prediction for prediction in predictions}
        assert list(found) == list(SIZES)
        for name, size in SIZES.items():
            expected = inference_model(model, str(images / f'{name}.png')).pred_sem_seg.data[0]
            assert found[name].mask.shape == size
            assert not found[name].error
            np.testing.assert_array_equal(found[name].mask, expected)
    assert len(np.unique(found['b'].mask)) == 3


def test_predictor_and_python_values(made):
    root, images = made
    model = init_model(str(root / 'tiny.py'), str(root / 'tiny.pth'), device='cpu')
    model.predictor = 'student'
    (found,) = mmseg_u2pl.predict(
        root / 'tiny.pth', images / 'b.png', predictor='student', probabilities=True, entropy=True
    )
    logits = inference_model(model, str(images / 'b.png')).seg_logits.data
    prob = logits.softmax(0)
    np.testing.assert_array_equal(found.mask, logits.argmax(0))
    np.testing.assert_allclose(np.asarray(found.probabilities), prob, atol=1e-3)
    entropy = 255 * entropy_map(prob, 0) / np.log(3)
    assert np.abs(np.asarray(found.entropy) - entropy.numpy()).max() < 0.51
    with pytest.raises(ValueError, match="'mean': U2PL has teacher, student"):
        mmseg_u2pl.predict(root / 'tiny.pth', images, predictor='mean')


def test_tta_averages_probabilities(made):
    """As mmseg's SegTTAModel, over two scales and their mirror images."""
    root, images = made
    model = init_model(str(root / 'tiny.py'), str(root / 'tiny.pth'), device='cpu')
    total = 0
    for scale in ((80, 36), (120, 50)):
        model.cfg.test_pipeline[1].scale = scale
        for flip in (False, True):
            image = np.asarray(cv2.imread(str(images / 'b.png')))
            image = np.ascontiguousarray(image[:, ::-1]) if flip else image
            model.cfg.test_pipeline[0].type = 'LoadImageFromNDArray'
            prob = inference_model(model, image).seg_logits.data.softmax(0)
            total = total + (prob.flip(2) if flip else prob)
    (found,) = mmseg_u2pl.predict(root / 'tiny.pth', images / 'b.png', tta=True, probabilities=True)
    np.testing.assert_allclose(np.asarray(found.probabilities), total / 4, atol=2e-3)


def test_the_entropy_of_views_that_exclude_a_class(made):
    """Of two classes alike and a third with probability 0 in float32: ln 2 of ln 3."""
    model, cfg, *_ = load_model(made[0] / 'tiny.pth')
    inference = Inference(model, cfg, tta=True, entropy=True)
    logits = torch.tensor([100.0, 100.0, -300.0]).view(3, 1, 1).expand(3, 4, 4)
    (item,) = items(find_sources([made[1] / 'b.png']))
    found = inference._finish(item, [rows.whole(logits)] * 2, (4, 4))
    assert (np.asarray(found.entropy) == round(255 * np.log(2) / np.log(3))).all()


def test_windows_and_scale(made, monkeypatch):
    root, images = made
    model = init_model(str(root / 'tiny.py'), str(root / 'tiny.pth'), device='cpu')
    model.cfg.test_pipeline[1].scale = (10**6, 45)
    model.test_cfg.update(mode='slide', crop_size=(24, 24), stride=(16, 16))
    expected = inference_model(model, str(images / 'b.png')).pred_sem_seg.data[0]
    for largest in (rows.LARGEST, 1000):  # a few rows at a time
        monkeypatch.setattr(rows, 'LARGEST', largest)
        (found,) = mmseg_u2pl.predict(root / 'tiny.pth', images / 'b.png', slide=(24, 16), scale=45)
        np.testing.assert_array_equal(found.mask, expected)
    for slide, says in (((24, 32), 'leave gaps'), ((20, 16), 'use 16 or 24')):
        with pytest.raises(ValueError, match=says):
            mmseg_u2pl.predict(root / 'tiny.pth', images, slide=slide)


@pytest.mark.parametrize('crop', [(24, 24), (17, 64), (64, 64)])
@pytest.mark.parametrize('batch_size', [1, 3])
def test_windows_are_those_of_mmseg_and_each_is_predicted_once(made, monkeypatch, crop, batch_size):
    model = load_model(made[0] / 'tiny.pth').model
    model.test_cfg.update(mode='slide', crop_size=crop, stride=(10, 16))
    inputs, meta = torch.randn(1, 3, 48, 60), dict(img_shape=(48, 60))
    seen, predict = [], model.encode_decode

    def count(windows, metas):
        seen.append(len(windows))
        return predict(windows, metas)

    with torch.no_grad():
        expected = model.slide_inference(inputs, [dict(meta)])[0]
        monkeypatch.setattr(model, 'encode_decode', count)
        logits = rows.Windows(model, inputs, meta, batch_size).logits
        parts = [logits.rows(first, min(first + 7, 48)) for first in range(0, 48, 7)]
    torch.testing.assert_close(torch.cat(parts, 1), expected)
    num_windows = {24: 4 * 4, 17: 5, 64: 1}[crop[0]]
    assert sum(seen) == num_windows
    assert max(seen) <= batch_size


@pytest.mark.parametrize('direction', ['', 'horizontal', 'vertical'])
def test_rows_without_padding_are_those_of_the_unmirrored_image(direction):
    logits = torch.randn(2, 9, 7)
    meta = dict(padding_size=(1, 2, 3, 0), flip=bool(direction), flip_direction=direction or None)
    expected = logits[:, 3:, 1:5]
    if direction:
        expected = expected.flip(2 if direction == 'horizontal' else 1)
    found = rows.without_padding(rows.whole(logits), meta)
    assert found.shape == expected.shape
    torch.testing.assert_close(torch.cat([found.rows(0, 2), found.rows(2, 6)], 1), expected)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(37, 29), (5, 4)])
def test_a_large_image_is_made_of_rows(monkeypatch, align_corners, size):
    logits = torch.randn(3, 9, 7)
    ((_, whole),) = rows.by_rows(rows.whole(logits), size, align_corners)
    monkeypatch.setattr(rows, 'LARGEST', 3 * max(size[1], 9 * 7 // size[0]) * 2)
    parts = list(rows.by_rows(rows.whole(logits), size, align_corners))
    assert [part.start for part, _ in parts] == list(range(0, size[0], 2))
    torch.testing.assert_close(torch.cat([part for _, part in parts], 1), whole)


def test_tool_writes_every_kind_and_names_damaged_images(made, tmp_path, run_tool, capsys):
    root, images = made
    whole = (images / 'a.png').read_bytes()
    damaged = tmp_path / 'damaged.png'
    damaged.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / 'out'
    flags = ('--color', '--overlay', '--prob', '--entropy', '--batch-size', 2)
    with pytest.raises(SystemExit) as stop:
        run_tool('predict.py', root / 'tiny.pth', damaged, images, '-o', out, *flags)
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert '4 masks' in printed.out
    assert '1 of 5 have no mask' in printed.err
    assert f'{damaged} cannot be read' in printed.err
    expected = {
        p.name: p for p in mmseg_u2pl.predict(root / 'tiny.pth', images, probabilities=True)
    }
    for kind, suffix in writing.SUFFIXES.items():
        names = {p.relative_to(out / kind).as_posix() for p in (out / kind).rglob('*.*')}
        assert names == {f'{name}{suffix}' for name in SIZES}
    for name, prediction in expected.items():
        color = Image.open(out / f'color/{name}.png')
        for picture in (Image.open(out / f'masks/{name}.png'), color):
            np.testing.assert_array_equal(np.array(picture), prediction.mask)
        palette = np.array(tiny.META['palette'])
        np.testing.assert_array_equal(color.convert('RGB'), palette[prediction.mask])
        with np.load(out / f'prob/{name}.npz') as file:
            probabilities = np.asarray(prediction.probabilities)
            np.testing.assert_allclose(file['probabilities'], probabilities, atol=1e-3)
    about = json.loads((out / 'classes.json').read_text())
    assert (about['classes'], about['predictor']) == (['red', 'green', 'blue'], 'teacher')
    assert about['palette'] == tiny.META['palette']


def test_masks_of_another_origin_stay(made, tmp_path, run_tool, refuses):
    root, images = made
    drawn = tmp_path / 'mine/masks/a.png'
    drawn.parent.mkdir(parents=True)
    cv2.imwrite(str(drawn), np.full((40, 48), 7, np.uint8))
    with refuses('mine/masks has files of another origin'):
        run_tool('predict.py', root / 'tiny.pth', images, '-o', tmp_path / 'mine')
    assert np.unique(np.asarray(cv2.imread(str(drawn), 0))) == [7]
    assert not (tmp_path / 'mine/classes.json').exists()
    (tmp_path / 'mine/classes.json').write_text('["cat"]')  # of another tool, with its name
    with refuses('mine/classes.json is of another origin'):
        run_tool('predict.py', root / 'tiny.pth', images, '-o', tmp_path / 'mine')
    for _ in range(2):  # its own files are replaced
        run_tool('predict.py', root / 'tiny.pth', images / 'a.png', '-o', tmp_path / 'out [1]')
    assert (tmp_path / 'out [1]/masks/a.png').is_file()
    marker = tmp_path / 'out [1]/classes.json'
    marker.write_text(marker.read_text().replace('"red"', '"rust"'))
    with refuses('masks of other classes are there .rust, green, blue.'):
        run_tool('predict.py', root / 'tiny.pth', images / 'a.png', '-o', tmp_path / 'out [1]')


class Scored(list):
    """A test set without images."""

    reduce_zero_label = False

    def __init__(self, *classes):
        super().__init__()
        self.metainfo = dict(classes=classes)


def test_a_test_leaves_masks_of_other_classes_alone(tmp_path):
    claim = runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'test.py'))['claim']
    for _ in range(2):  # its own folder
        claim(Scored('red', 'green'), str(tmp_path / 'masks'))
    with pytest.raises(ValueError, match=r'other classes are there \(red, green\)'):
        claim(Scored('red', 'blue'), str(tmp_path / 'masks'))


def test_trust_ends_with_the_file(made, monkeypatch):
    root, _ = made
    monkeypatch.setattr(os, 'environ', os.environ.copy())
    before = dict(os.environ)
    with ThreadPoolExecutor(3) as pool:  # stdout is the same after it, too
        stdout = sys.stdout
        trusted = [True, False, True]
        list(pool.map(lambda t: load_model(root / 'tiny.pth', trust_checkpoint=t), trusted))
    assert sys.stdout is stdout
    assert dict(os.environ) == before


def test_a_part_that_is_not_registered_is_named(made, tmp_path):
    root, _ = made
    content = torch.load(root / 'tiny.pth', weights_only=False)
    kind = Config.fromfile(root / 'tiny.py').model.backbone.type
    content['meta']['cfg'] = content['meta']['cfg'].replace(repr(kind), "'Elsewhere'")
    torch.save(content, tmp_path / 'foreign.pth')
    with pytest.raises(
        ValueError, match=r'Elsewhere is not in .* import its module first, or .*--config'
    ):
        load_model(tmp_path / 'foreign.pth')


def test_an_image_of_other_channels_leaves_the_others(made, tmp_path):
    root, images = made
    cfg = Config.fromfile(root / 'tiny.py')
    cfg.test_pipeline[0].color_type = 'unchanged'
    cfg.dump(tmp_path / 'unchanged.py')
    for name, channels in (('a', 3), ('b', 4), ('c', 3)):
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((40, 48, channels), np.uint8))
    found = mmseg_u2pl.predict(root / 'tiny.pth', tmp_path, config=tmp_path / 'unchanged.py')
    assert [bool(each.error) for each in found] == [False, True, False]
    with pytest.raises(ValueError, match='scale=0'):
        mmseg_u2pl.predict(root / 'tiny.pth', images, scale=0)


def test_overlay_is_half_color_and_leaves_black_classes_clear():
    image = np.full((1, 2, 3), 100, np.uint8)
    found = writing.overlay(image, np.array([[0, 1]]), [[0, 0, 0], [200, 0, 50]])
    np.testing.assert_array_equal(found, [[[100, 100, 100], [150, 50, 75]]])
    picture = np.array(writing.with_legend(found, [('none', (0, 0, 0)), ('red', (200, 0, 50))]))
    np.testing.assert_array_equal(picture[:1, :2], found)
    assert (picture == (200, 0, 50)).all(2).sum() > 50  # its square in the legend


def write_video(path, rate=10.0):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), rate, (48, 40))
    for value in (0, 100, 200):
        video.write(np.full((40, 48, 3), value, np.uint8))
    video.release()


@pytest.mark.parametrize(
    ('rate', 'written_rate'), [(200 / 3, 66.67), (30000 / 1001, 29.97), (1000, 240)]
)
def test_overlays_of_videos_of_unusual_rates(made, tmp_path, run_tool, rate, written_rate):
    write_video(tmp_path / 'fast.avi', rate)
    words = [made[0] / 'tiny.pth', tmp_path / 'fast.avi', '-o', tmp_path / 'out', '--overlay']
    run_tool('predict.py', *words)
    written = cv2.VideoCapture(str(tmp_path / 'out/overlay/fast.mp4'))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert written.get(cv2.CAP_PROP_FPS) == pytest.approx(written_rate)


def test_an_overlay_that_cannot_be_written_is_an_error(
    made, tmp_path, run_tool, monkeypatch, refuses
):
    write_video(tmp_path / 'clip.avi')
    monkeypatch.setattr(cv2.VideoWriter, 'isOpened', lambda writer: False)
    with refuses(r'overlay/clip.mp4 cannot be written'):
        words = [made[0] / 'tiny.pth', tmp_path / 'clip.avi', '-o', tmp_path / 'out', '--overlay']
        run_tool('predict.py', *words)


def test_a_video_that_is_cut_off_is_told(made, tmp_path, run_tool, monkeypatch, capsys):
    write_video(tmp_path / 'clip.avi')
    monkeypatch.setattr(VideoReader, 'frame_cnt', 5)
    run_tool('predict.py', made[0] / 'tiny.pth', tmp_path / 'clip.avi', '-o', tmp_path / 'out')
    assert '2 frames fewer than the videos say' in capsys.readouterr().out


def test_video(made, tmp_path, run_tool):
    root, _ = made
    path = tmp_path / 'clip.avi'
    write_video(path)
    run_tool('predict.py', root / 'tiny.pth', path, '-o', tmp_path / 'out', '--overlay')
    names = sorted(p.name for p in (tmp_path / 'out/masks/clip').iterdir())
    assert names == ['000000.png', '000001.png', '000002.png']
    written = cv2.VideoCapture(str(tmp_path / 'out/overlay/clip.mp4'))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert written.get(cv2.CAP_PROP_FPS) == 10


def test_an_image_that_cannot_be_written_leaves_the_others(made, tmp_path, run_tool, capsys):
    root, images = made
    (tmp_path / 'out/masks/a.png').mkdir(parents=True)  # in the place of a mask
    (tmp_path / 'out/classes.json').write_text('')  # of a run that was killed
    with pytest.raises(SystemExit) as stop:
        run_tool('predict.py', root / 'tiny.pth', images, '-o', tmp_path / 'out')
    assert stop.value.code == 1
    assert 'a.png cannot be written' in capsys.readouterr().err
    assert (tmp_path / 'out/masks/b.png').is_file()
    assert json.loads((tmp_path / 'out/classes.json').read_text())['classes']
