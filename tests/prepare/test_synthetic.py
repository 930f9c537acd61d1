"""The synthetic street scenes: what a scene is, and what lies on disk."""

import hashlib

import cv2
import numpy as np
import pytest

from mmseg_u2pl.datasets import SyntheticStreetDataset
from mmseg_u2pl.functional import IGNORE
from mmseg_u2pl.prepare.synthetic import dataset, render_scene, write_dataset
from mmseg_u2pl.prepare.synthetic.scene import Label

CLASSES = SyntheticStreetDataset.METAINFO['classes']

SMALL = dict(num_labeled=2, num_unlabeled=3, num_val=1, num_test=1, height=32, width=48)


def digests(root):
    """Relative path to content hash of every file below ``root``."""
    files = (path for path in root.rglob('*') if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def mtimes(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob('*')}


def stems(root, name):
    return (root / 'splits' / f'{name}.txt').read_text().split()


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """A small data set; tests that change it write their own."""
    return write_dataset(tmp_path_factory.mktemp('scenes') / 'nested' / 'root', **SMALL)


@pytest.fixture(scope='module')
def scenes():
    """Forty scenes of the default size, none of them in the default data set."""
    return [render_scene(np.random.default_rng([1, index])) for index in range(40)]


def test_the_data_set_has_the_classes_of_the_scenes():
    assert tuple(label.name.lower() for label in Label) == CLASSES


@pytest.mark.parametrize(('height', 'width'), [(32, 32), (45, 71), (96, 128)])
def test_image_and_mask_have_the_size_asked_for(height, width):
    image, mask = render_scene(np.random.default_rng(0), height, width)
    assert (image.shape, image.dtype) == ((height, width, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((height, width), np.uint8)


def test_a_generator_state_fixes_the_scene():
    first, again, other = (render_scene(np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()
    assert (first[1] != other[1]).any()


def test_shares_of_the_classes_are_moderately_balanced(scenes):
    values = np.concatenate([mask.ravel() for _, mask in scenes])
    assert set(np.unique(values)) <= {*range(len(CLASSES)), IGNORE}
    share = np.bincount(values, minlength=256) / values.size
    assert share[: len(CLASSES)].max() <= 0.35
    assert share[: len(CLASSES) - 1].min() >= 0.02
    assert share[CLASSES.index('pole')] >= 0.015
    assert share[IGNORE] <= 0.05


def test_every_class_is_seen_in_most_scenes(scenes):
    for label, name in enumerate(CLASSES):
        assert np.mean([(mask == label).any() for _, mask in scenes]) >= 0.8, name


def test_looks_vary_and_none_is_black_or_blown_out(scenes):
    means = np.array([image.mean() for image, _ in scenes])
    assert means.min() > 20
    assert means.max() < 235
    assert means.std() > 15


def test_color_alone_does_not_tell_the_classes_apart(scenes):
    """Per class, the scenes' mean colors spread further than the classes' means lie apart."""
    means = np.array(
        [
            [image[mask == label].mean(axis=0) if (mask == label).any() else [np.nan] * 3
             for label in range(len(CLASSES))]
            for image, mask in scenes
        ]
    )  # fmt: skip  # (scene, class, BGR)
    within = np.nanstd(means, axis=0).mean()
    between = np.nanmean(means, axis=0).std(axis=0).mean()
    assert within > between


def test_layout_on_disk(written):
    train = [f'train_{index:05d}' for index in range(5)]
    assert stems(written, 'labeled') == train[:2]
    assert stems(written, 'unlabeled') == train[2:]
    assert set(digests(written)) == {
        'meta.json', 'splits/labeled.txt', 'splits/unlabeled.txt',
        *(f'img_dir/train/{stem}.jpg' for stem in train),
        *(f'ann_dir/train/{stem}.png' for stem in train[:2]),  # and no mask of an unlabeled one
        'img_dir/val/val_00000.jpg', 'ann_dir/val/val_00000.png',
        'img_dir/test/test_00000.jpg', 'ann_dir/test/test_00000.png',
    }  # fmt: skip


def test_files_hold_the_scene_of_their_seed_split_and_index(written):
    image, mask = render_scene(np.random.default_rng([0, 0, 1]), 32, 48)
    saved = cv2.imread(str(written / 'ann_dir/train/train_00001.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(saved, mask)
    photo = cv2.imread(str(written / 'img_dir/train/train_00001.jpg'))
    assert photo is not None
    assert np.abs(photo.astype(int) - image).mean() < 8  # JPEG


def test_the_bytes_are_the_same_again(written, tmp_path):
    assert digests(write_dataset(tmp_path / 'again', **SMALL)) == digests(written)


def test_counts_do_not_change_a_scene(written, tmp_path):
    counts = dict(num_labeled=4, num_unlabeled=0, num_val=2, num_test=0)
    other = digests(write_dataset(tmp_path, **{**SMALL, **counts}))
    shared = {name for name in digests(written) if name.startswith(('img_', 'ann_'))} & set(other)
    assert len(shared) == 4 + 2 + 2  # train images, their masks, one of val with its mask
    assert all(other[name] == digests(written)[name] for name in shared)
    assert stems(tmp_path, 'unlabeled') == []


def test_second_call_writes_nothing(tmp_path):
    write_dataset(tmp_path, **SMALL)
    before = mtimes(tmp_path)
    assert write_dataset(str(tmp_path), **SMALL) == tmp_path
    assert mtimes(tmp_path) == before


@pytest.mark.parametrize('change', [dict(num_labeled=1), dict(width=64)])
def test_other_parameters_rebuild_without_leftovers(tmp_path, change):
    write_dataset(tmp_path / 'a', **SMALL)
    write_dataset(tmp_path / 'a', **{**SMALL, **change})
    write_dataset(tmp_path / 'b', **{**SMALL, **change})
    assert digests(tmp_path / 'a') == digests(tmp_path / 'b')


def test_other_version_rebuilds(tmp_path, monkeypatch):
    write_dataset(tmp_path, **SMALL)
    monkeypatch.setattr(dataset, 'VERSION', dataset.VERSION + 1)
    before = mtimes(tmp_path)[tmp_path / 'img_dir/val/val_00000.jpg']
    write_dataset(tmp_path, **SMALL)
    assert mtimes(tmp_path)[tmp_path / 'img_dir/val/val_00000.jpg'] != before


def test_a_cut_run_is_redone(written, tmp_path, monkeypatch):
    draw, calls = render_scene, []

    def stop_at_the_third(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*args)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, 'render_scene', stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(tmp_path, **SMALL)
    assert (tmp_path / 'img_dir/train/train_00001.jpg').exists()
    write_dataset(tmp_path, **SMALL)
    assert digests(tmp_path) == digests(written)


@pytest.mark.parametrize('name', ['photo.jpg', 'meta.json'])
def test_files_of_another_origin_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text('[1]')
    with pytest.raises(FileExistsError, match='another origin'):
        write_dataset(tmp_path, **SMALL)
    assert (tmp_path / name).read_text() == '[1]'


@pytest.mark.parametrize(
    ('name', 'value'),
    [('num_labeled', 0), ('num_unlabeled', -1), ('num_val', -2), ('num_test', 1.5),
     ('height', 31), ('width', 8)],
)  # fmt: skip
def test_bad_arguments_are_named_and_nothing_is_written(tmp_path, name, value):
    with pytest.raises(ValueError, match=rf'{name} .* got {value}'):
        write_dataset(tmp_path / 'new', **{**SMALL, name: value})
    assert not (tmp_path / 'new').exists()
