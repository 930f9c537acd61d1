"""Broken images and masks are found before training, each file is read once, all ranks agree."""

import importlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tiny
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_u2pl.datasets import SemiDataset, UnlabeledDataset, scan
from mmseg_u2pl.datasets.checks import check_images, check_labels, label_counts

LOAD_IMAGE, LOAD_MASK = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_U2PL_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def semi(root, skip_bad=0, labeled=None, unlabeled=None):
    return SemiDataset(
        tiny.labeled_config(root, **(labeled or {})),
        tiny.unlabeled_config(root, **(unlabeled or {})),
        skip_bad=skip_bad,
    )


def image(root, name):
    return root / 'images' / 'train' / f'{name}.png'


def mask(root, name):
    return root / 'masks' / 'train' / f'{name}.png'


def labels_of(root, *names):
    """All labels of masks, read plainly."""
    return np.concatenate([np.ravel(np.array(cv2.imread(str(mask(root, n)), 0))) for n in names])


def truncate(path, keep=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def stems(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [Path(info['img_path']).stem for info in infos]


@pytest.fixture
def reads(monkeypatch):
    """Paths of the images and masks that are opened."""
    paths = []

    def count(function, path_of):
        def counted(item, load):
            paths.append(path_of(item))
            return function(item, load)

        return counted

    monkeypatch.setattr(scan, '_read_image', count(scan._read_image, str))
    monkeypatch.setattr(scan, '_read_mask', count(scan._read_mask, lambda i: i['seg_map_path']))
    return paths


# ----------------------------------------------------------------------- what is undecodable
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp', '.tif', '.webp'])
@pytest.mark.parametrize('keep', [0, 0.01, 0.5, 0.98])
def test_a_part_of_an_image_is_found_in_any_format(tmp_path, suffix, keep):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    path = tmp_path / f'part{suffix}'
    path.write_bytes(cv2.imencode(suffix, noise)[1].tobytes())
    config = dict(
        type='UnlabeledDataset', data_prefix=dict(img_path=str(tmp_path)), pipeline=[LOAD_IMAGE]
    )
    whole = scan.scan_images(DATASETS.build(config))
    assert whole == ({str(path): [80, 60]}, {})
    truncate(path, keep)
    found = scan.scan_images(DATASETS.build(config))
    assert found is not None
    assert not found.facts
    assert isinstance(found.errors[str(path)], scan.UndecodableError)


def test_a_jpeg_without_its_last_byte_is_found(tmp_path):
    path = tmp_path / 'a.jpg'
    cv2.imwrite(str(path), np.zeros((40, 40, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    dataset = DATASETS.build(
        dict(
            type='UnlabeledDataset', data_prefix=dict(img_path=str(tmp_path)), pipeline=[LOAD_IMAGE]
        )
    )
    tiny.assert_raises(ValueError, lambda: check_images(dataset, 'here'), 'here: 1 images', path)


def test_an_image_that_mmcv_cannot_load_is_found_though_others_can(tmp_path):
    Image.fromarray(np.zeros((4, 5), np.float32)).save(tmp_path / 'float.tif')
    dataset = DATASETS.build(
        dict(
            type='UnlabeledDataset', data_prefix=dict(img_path=str(tmp_path)), pipeline=[LOAD_IMAGE]
        )
    )
    tiny.assert_raises(ValueError, lambda: check_images(dataset, 'here'), 'float.tif')


def test_images_of_a_users_own_loading_step_are_not_judged(own_root):
    class Own(BaseTransform):
        def transform(self, results):
            return dict(results, img=np.zeros((4, 4, 3), np.uint8))

    image(own_root, 'u0').write_text('in a format of its own')
    dataset = semi(own_root, unlabeled=dict(pipeline=[Own()]))
    assert dataset.unlabeled[0]['img'].shape == (4, 4, 3)


# ---------------------------------------------------------------------------- very long lists
@pytest.fixture
def many(tmp_path):
    """Eleven images."""
    for number in range(11):
        cv2.imwrite(str(tmp_path / f'{number:02}.png'), np.zeros((2, 3), np.uint8))
    return tmp_path


def unlabeled_of(folder, **settings):
    prefix = dict(img_path=str(folder))
    return UnlabeledDataset(data_prefix=prefix, pipeline=[LOAD_IMAGE], **settings)


@pytest.mark.parametrize(
    ('scan_limit', 'numbers'),
    [(None, range(11)), (11, range(11)), (10, range(0, 11, 2)), (3, range(0, 11, 4)), (1, [0])],
)
def test_a_limited_scan_is_spread_over_the_list(many, reads, scan_limit, numbers):
    scanned = scan.scan_images(unlabeled_of(many, scan_limit=scan_limit))
    assert scanned is not None
    expected = [str(many / f'{number:02}.png') for number in numbers]
    assert list(scanned.facts) == sorted(reads) == expected


def test_an_interrupted_scan_has_kept_most_of_what_it_read(many, reads, monkeypatch):
    monkeypatch.setattr(scan, '_KEEP', 2)
    monkeypatch.setattr(scan, '_CHUNK', 1)
    read = scan._read_image

    def interrupted(path, load):
        if path.endswith('07.png'):
            raise KeyboardInterrupt
        return read(path, load)

    with monkeypatch.context() as patch:
        patch.setattr(scan, '_read_image', interrupted)
        with pytest.raises(KeyboardInterrupt):
            scan.scan_images(unlabeled_of(many))
    reads.clear()
    scanned = scan.scan_images(unlabeled_of(many))
    assert scanned is not None
    assert len(scanned.facts) == 11
    assert sorted(reads) == [str(many / f'{number:02}.png') for number in range(6, 11)]


# ------------------------------------------------------------------------ named or left out
def test_undecodable_images_are_named_and_counted_with_the_remedy(own_root):
    for name in ('l1', 'u0', 'u3'):
        truncate(image(own_root, name))
    tiny.assert_raises(
        ValueError,
        lambda: semi(own_root, skip_bad=2),
        'train_dataloader.dataset: 3 images cannot be used',
        *(image(own_root, name) for name in ('l1', 'u0', 'u3')),
        'tools/train.py --skip-bad 3',
    )


def test_ten_are_named_and_the_rest_is_counted(own_root):
    names = [f'x{i:02}' for i in range(12)]
    for name in names:
        image(own_root, name).write_text('no image')
    (own_root / 'unlabeled.txt').write_text('\n'.join(['u0', *names]))
    with pytest.raises(ValueError, match='12 images') as error:
        semi(own_root)
    assert [name in str(error.value) for name in names] == 10 * [True] + 2 * [False]
    assert 'and 2 more' in str(error.value)


@pytest.mark.parametrize('serialize_data', [True, False])
def test_up_to_skip_bad_images_of_both_streams_are_left_out(own_root, serialize_data):
    truncate(image(own_root, 'u1'))
    truncate(image(own_root, 'l0'))
    truncate(mask(own_root, 'l2'))  # its image goes too
    settings = dict(serialize_data=serialize_data)
    dataset = semi(own_root, 3, settings, settings)
    assert dataset.lengths == (2, 5)
    assert stems(dataset.labeled) == ['l1', 'l3']
    assert stems(dataset.unlabeled) == ['u0', 'u2', 'u3', 'u4', 'u5']
    assert [dataset[i]['stream'] for i in range(7)] == 2 * ['sup'] + 5 * ['unsup']
    counts = label_counts(dataset.labeled)  # of the masks that are left
    expected = np.bincount(labels_of(own_root, 'l1', 'l3'), minlength=256)
    assert np.array_equal(counts, expected)


@pytest.fixture
def log(caplog):
    """What mmengine's logger writes."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_what_is_left_out_is_logged(own_root, log):
    truncate(mask(own_root, 'l2'))
    semi(own_root, skip_bad=5)
    assert log.records[-1].levelname == 'WARNING'
    output = log.records[-1].getMessage()
    assert '1 images cannot be used and are left out' in output
    assert str(image(own_root, 'l2')) in output
    assert f'its mask {str(mask(own_root, "l2"))!r}' in output


def test_an_image_in_both_streams_counts_once(own_root):
    truncate(image(own_root, 'l0'))
    (own_root / 'unlabeled.txt').write_text('l0\nu0\nu1')
    assert semi(own_root, skip_bad=1).lengths == (3, 2)


def test_wrapped_data_sets_count_again(own_root):
    truncate(image(own_root, 'l1'))
    part = tiny.labeled_config(own_root)
    both = ConcatDataset([DATASETS.build(part), DATASETS.build(part)])
    for dataset in (both, RepeatDataset(DATASETS.build(part), times=2)):
        assert len(dataset) == 8
        check_images(dataset, 'here', skip_bad=1)
        assert stems(dataset) == ['l0', 'l2', 'l3', 'l0', 'l2', 'l3']


def test_a_stream_without_any_image_left_is_named(own_root):
    for i in range(4):
        truncate(image(own_root, f'l{i}'))
    tiny.assert_raises(
        ValueError, lambda: semi(own_root, skip_bad=9), own_root / 'images' / 'train', 'no image'
    )


def test_a_negative_skip_bad_is_named(data_root):
    tiny.assert_raises(ValueError, lambda: semi(data_root, skip_bad=-1), 'skip_bad', '-1')


# ------------------------------------------------------------------------------ bad masks
def test_a_mask_of_another_size_is_named_and_skip_bad_does_not_hide_it(own_root):
    for name in ('l1', 'l3'):
        cv2.imwrite(str(mask(own_root, name)), np.zeros((40, 47), np.uint8))
    tiny.assert_raises(
        ValueError,
        lambda: semi(own_root, skip_bad=9),
        mask(own_root, 'l1'),
        'is 47x40 pixels',
        image(own_root, 'l1'),
        '48x40',
        '(2 masks are wrong)',
    )


def test_an_image_on_its_side_has_the_size_it_is_loaded_with(own_root):
    path = image(own_root, 'l1')
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as upright:
        upright.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix('.jpg'), exif=exif)
    (own_root / 'one.txt').write_text('l1')
    changes = dict(ann_file='one.txt', img_suffix='.jpg', pipeline=[LOAD_IMAGE, LOAD_MASK])
    dataset = semi(own_root, labeled=changes)
    assert dataset[0]['img'].shape == (*dataset[0]['gt_seg_map'].shape, 3) == (40, 48, 3)
    assert scan.scan_images(dataset.labeled) == ({str(path.with_suffix('.jpg')): [48, 40]}, {})


def test_a_color_mask_is_named_with_the_remedy(own_root):
    cv2.imwrite(str(mask(own_root, 'l1')), np.zeros((40, 48, 3), np.uint8))
    tiny.assert_raises(
        ValueError, lambda: semi(own_root), mask(own_root, 'l1'), "type='LoadMask', colors="
    )


def test_an_unknown_color_is_named(own_root):
    for path in (own_root / 'masks' / 'train').iterdir():
        cv2.imwrite(str(path), np.zeros((40, 48, 3), np.uint8))
    colored = np.zeros((40, 48, 3), np.uint8)
    colored[3, 4] = 3, 2, 1  # blue, green, red
    cv2.imwrite(str(mask(own_root, 'l2')), colored)
    step = dict(type='LoadMask', colors=[[0, 0, 0], [9, 9, 9], [8, 8, 8]])
    tiny.assert_raises(
        ValueError,
        lambda: semi(own_root, labeled=dict(pipeline=[LOAD_IMAGE, step])),
        mask(own_root, 'l2'),
        'color [1, 2, 3]',
        '(x=4, y=3)',
    )


def test_labels_beyond_a_byte_do_not_pass_as_others(own_root):
    labels = np.zeros((40, 48), np.uint16)
    labels[0, 0] = 257  # mmseg would make it 1
    cv2.imwrite(str(mask(own_root, 'l2')), labels)
    tiny.assert_raises(
        ValueError, lambda: semi(own_root), mask(own_root, 'l2'), 'values to 257', 'LoadMask'
    )


def test_the_masks_of_unlabeled_images_are_not_opened(own_root, reads):
    for name in ('u0', 'u1'):
        mask(own_root, name).write_text('no image')
    semi(own_root)
    assert len(reads) == 14
    assert not {str(mask(own_root, name)) for name in ('u0', 'u1')} & set(reads)


# ---------------------------------------------------------------------------------- labels
def test_labels_are_counted_as_the_loading_step_leaves_them(own_root):
    counts = np.bincount(labels_of(own_root, 'l0', 'l1', 'l2', 'l3'), minlength=256)
    assert np.array_equal(label_counts(semi(own_root).labeled), counts)
    step = dict(type='LoadMask', values={0: 2, 1: 1, 2: 0, 255: 255})
    turned = semi(own_root, labeled=dict(pipeline=[LOAD_IMAGE, step])).labeled
    assert np.array_equal(label_counts(turned)[[2, 1, 0, 255]], counts[[0, 1, 2, 255]])
    reduced = semi(own_root, labeled=dict(reduce_zero_label=True)).labeled
    expected = [counts[1], counts[2], 0, counts[0] + counts[255]]
    assert label_counts(reduced)[[0, 1, 2, 255]].tolist() == expected


def test_a_class_without_labeled_pixels_is_warned_of(own_root):
    for path in (own_root / 'masks' / 'train').iterdir():
        labels = np.array(cv2.imread(str(path), 0))
        labels[labels == 1] = 0
        cv2.imwrite(str(path), labels)
    with pytest.warns(UserWarning, match='no labeled pixel of green: 1 of 3 classes'):
        check_labels(semi(own_root).labeled, 3)


def test_no_warning_where_all_classes_are_labeled(data_root, recwarn):
    check_labels(semi(data_root).labeled, 3)
    assert not [w for w in recwarn if 'labeled pixel' in str(w.message)]


# ----------------------------------------------------------------------------- read once
def test_each_file_is_read_once_until_it_changes(own_root, reads):
    for _ in range(2):
        dataset = semi(own_root)
        check_labels(dataset.labeled, 3)
        label_counts(dataset.labeled)
        names = sorted(os.path.relpath(path, own_root) for path in reads)
        assert names == sorted(
            [f'images/train/l{i}.png' for i in range(4)]
            + [f'images/train/u{i}.png' for i in range(6)]
            + [f'masks/train/l{i}.png' for i in range(4)]
        )
    reads.clear()
    tiny.set_label(own_root, 1)
    os.utime(mask(own_root, 'l2'), ns=(1, 1))  # the size may be the same
    counts = label_counts(dataset.labeled)
    assert reads == [str(mask(own_root, 'l2'))]
    expected = np.bincount(labels_of(own_root, 'l0', 'l1', 'l2', 'l3'), minlength=256)
    assert np.array_equal(counts, expected)


def test_other_settings_read_masks_again_but_not_images(own_root, reads):
    semi(own_root)
    for changes in (
        dict(reduce_zero_label=True),
        dict(pipeline=[LOAD_IMAGE, dict(type='LoadMask')]),
        dict(pipeline=[LOAD_IMAGE, dict(type='LoadMask', values=[[i, i] for i in range(256)])]),
    ):
        reads.clear()
        check_images(DATASETS.build(tiny.labeled_config(own_root, **changes)), 'here')
        assert sorted(reads) == [str(mask(own_root, f'l{i}')) for i in range(4)]


def test_a_broken_image_is_never_remembered_as_whole(own_root):
    semi(own_root)
    truncate(image(own_root, 'u2'))
    for _ in range(2):
        tiny.assert_raises(ValueError, lambda: semi(own_root), image(own_root, 'u2'))


@pytest.mark.parametrize('content', ['', '{"a": ', '[1, 2]', '\x00\xff', 'entries', 'deep'])
def test_a_spoiled_memory_counts_as_empty(own_root, cache, reads, content):
    dataset = semi(own_root)
    expected = label_counts(dataset.labeled)
    files = list(cache.iterdir())
    assert len(files) == 2  # images and masks, nothing else is left behind
    for file in files:
        if content == 'entries':
            file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), 7)))
        else:
            file.write_text('[' * 100_000 if content == 'deep' else content, encoding='latin-1')
    reads.clear()
    check_images(dataset, 'here')
    assert np.array_equal(label_counts(dataset.labeled), expected)
    assert len(reads) == 14


def test_without_a_place_to_remember_it_works_and_says_so_once(own_root, cache, log):
    cache.write_text('a file where the folder should be')
    assert label_counts(semi(own_root).labeled).sum() == 4 * 40 * 48
    said = [r.getMessage() for r in log.records if r.levelname == 'WARNING']
    assert len(said) == 1
    assert str(cache) in said[0]
    assert 'MMSEG_U2PL_CACHE' in said[0]


def test_writers_at_the_same_time_leave_a_whole_file(cache):
    def add(writer):
        for number in range(20):
            scan.Memory('name').add({f'{writer}/{number}': [number] * 500})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    known = scan.Memory('name').load()
    assert len(known) >= 20  # all of the last writer's, at least
    assert all(entry == [int(path.split('/')[1])] * 500 for path, entry in known.items())
    assert len(list(cache.iterdir())) == 1


def test_results_keep_their_order_and_a_bar_shows_only_when_it_takes_long(monkeypatch):
    shown = []
    monkeypatch.setattr(scan.Progress, 'start', lambda _: shown.append('start'))
    monkeypatch.setattr(scan.Progress, 'stop', lambda _: shown.append('stop'))
    for patience, expected in ((60, []), (-1, ['start', 'stop'])):
        monkeypatch.setattr(scan, '_PATIENCE', patience)
        results = list(scan.in_threads(str, list(range(100)), 'files'))
        assert results == [str(number) for number in range(100)]
        assert shown == expected


# --------------------------------------------------------------------- several processes
def _join(rank, root, wrong, rendezvous):
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    read: list[str] = []
    read_image = scan._read_image

    def counted(path, load):
        read.append(path)
        return read_image(path, load)

    scan._read_image = counted
    dist.init_process_group('gloo', init_method=rendezvous, rank=rank, world_size=2)
    try:
        tiny.assert_raises(ValueError, lambda: semi(root), '1 images', image(root, 'u1'))
        assert len(read) == (10 if rank == 0 else 0)
        assert stems(semi(root, skip_bad=1).unlabeled) == ['u0', 'u2', 'u3', 'u4', 'u5']
        tiny.assert_raises(ValueError, lambda: semi(wrong), 'is 4x4 pixels')
    finally:
        dist.destroy_process_group()


def test_one_process_reads_and_all_come_to_the_same_end(own_root, tmp_path):
    wrong = shutil.copytree(own_root, tmp_path / 'wrong')
    cv2.imwrite(str(mask(wrong, 'l1')), np.zeros((4, 4), np.uint8))
    truncate(image(own_root, 'u1'))
    mp.spawn(_join, args=(own_root, wrong, f'file://{tmp_path}/rendezvous'), nprocs=2)


# --------------------------------------------------------------------------- tools/train.py
@pytest.fixture
def train(monkeypatch, tmp_path):
    """Call ``tools/train.py`` on a data set config; the config that it would train."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / 'tools')
    module = importlib.import_module('train')

    def call(dataset, *flags):
        built: list[Config] = []

        def build_runner(cfg):
            built.append(cfg)
            return SimpleNamespace(train=lambda: None)

        config = tmp_path / 'config.py'
        config.write_text(f'train_dataloader = dict(dataset={dataset!r})\noptim_wrapper = dict()\n')
        monkeypatch.setattr(sys, 'argv', ['train.py', str(config), *flags])
        monkeypatch.setattr(module, 'build_runner', build_runner)
        module.main()
        return built[0]

    return call


def test_the_flag_sets_skip_bad(train):
    dataset = train(dict(type='SemiDataset'), '--skip-bad', '3').train_dataloader.dataset
    assert dataset.skip_bad == 3
    assert 'skip_bad' not in train(dict(type='SemiDataset')).train_dataloader.dataset


def test_the_flag_names_a_data_set_that_cannot_skip(train, capsys):
    with pytest.raises(SystemExit, match='SemiDataset, but the config trains on CamVidDataset'):
        train(dict(type='CamVidDataset'), '--skip-bad', '3')
    with pytest.raises(SystemExit):
        train(dict(type='SemiDataset'), '--skip-bad', '-1')
    assert 'at least 0, got -1' in capsys.readouterr().err
