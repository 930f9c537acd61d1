"""The split tool's command line, from folders to lists that data sets load."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.datasets import BaseSegDataset

from mmseg_u2pl.datasets import UnlabeledDataset
from mmseg_u2pl.datasets.provenance import list_record
from mmseg_u2pl.version import __version__

TOOL = Path(__file__).parents[2] / 'tools/make_splits.py'


@pytest.fixture
def call(run_tool, capsys):
    """Run the tool in this process; returns what it printed."""

    def run(*arguments):
        run_tool('make_splits.py', *arguments)
        return capsys.readouterr().out

    return run


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """24 images of 4 sequences, 20 with masks of 3 classes; class 2 is in two masks only."""
    folder = tmp_path_factory.mktemp('street')
    rng = np.random.default_rng(0)
    for i in range(24):
        stem = f'seq{i % 4}/frame ü{i:02}'
        (folder / 'img' / stem).parent.mkdir(parents=True, exist_ok=True)
        (folder / 'ann' / stem).parent.mkdir(parents=True, exist_ok=True)
        write(folder / f'img/{stem}.jpg', rng.integers(0, 255, (6, 8, 3)))
        if i < 20:
            mask = (rng.random((6, 8)) < 0.3).astype(int)
            mask[0, 0] = 2 if i in (3, 9) else 255
            write(folder / f'ann/{stem}.png', mask)
    return folder


def write(path, values):
    path.write_bytes(cv2.imencode(path.suffix, values.astype(np.uint8))[1].tobytes())


def lines(path):
    return path.read_text(encoding='utf-8').splitlines()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_lists_table_and_provenance(root, tmp_path, call):
    output = call(
        root / 'img', '--masks', root / 'ann', '--labeled', '1/4', '2', '--holdout', '4',
        '--method', 'stratified', '--classes', 'road', 'car', '[pole]', '--out', tmp_path / 'out',
    )  # fmt: skip
    out = tmp_path / 'out'
    sizes = {name: len(lines(out / f'{name}.txt')) for name in (
        'holdout', '1_4_labeled', '1_4_unlabeled', '2_labeled', '2_unlabeled')}  # fmt: skip
    assert list(sizes.values()) == [4, 4, 16, 2, 18]
    assert set(lines(out / '2_labeled.txt')) < set(lines(out / '1_4_labeled.txt'))
    text = (out / 'provenance.json').read_text(encoding='utf-8')
    provenance = json.loads(text)
    assert provenance['version'] == __version__
    assert (provenance['images'], provenance['images_that_may_be_labeled']) == (24, 20)
    assert provenance['warnings'] == []  # one [pole] for the hold-out and one for the labeled
    assert provenance['lists']['2_labeled']['classes_missing'] == []
    assert provenance['options']['labeled'] == ['1/4', '2']
    assert str(tmp_path) not in text
    assert str(root) not in text
    assert '[pole]' in output
    assert '5 lists written' in output


def test_lists_of_another_draw_keep_their_record(root, tmp_path, call):
    out = tmp_path / 'out'
    call(root / 'img', '--labeled', '1/4', '--seed', '1', '--out', out)
    first = list_record(out / '1_4_labeled.txt')
    assert first['family'] == 'make_splits plain seed 1'
    call(root / 'img', '--labeled', '1/8', '--seed', '2', '--out', out, '--force')
    assert list_record(out / '1_8_labeled.txt')['family'] == 'make_splits plain seed 2'
    assert list_record(out / '1_4_labeled.txt') == first


def test_the_lists_load(root, tmp_path, call):
    call(root / 'img', '--masks', root / 'ann', '--labeled', '5', '--out', tmp_path)
    labeled = BaseSegDataset(
        data_prefix=dict(img_path='img', seg_map_path='ann'), img_suffix='.jpg',
        seg_map_suffix='.png', ann_file=str(tmp_path / '5_labeled.txt'),
        data_root=str(root), pipeline=[],
    )  # fmt: skip
    unlabeled = UnlabeledDataset(
        data_prefix=dict(img_path='img'), ann_file=str(tmp_path / '5_unlabeled.txt'),
        data_root=str(root), pipeline=[],
    )  # fmt: skip
    assert (len(labeled), len(unlabeled)) == (5, 19)
    for i in range(5):
        info = labeled.get_data_info(i)
        assert Path(info['img_path']).is_file()
        assert Path(info['seg_map_path']).is_file()
    assert all(Path(unlabeled.get_data_info(i)['img_path']).is_file() for i in range(19))


def test_the_same_bytes_anywhere(root, tmp_path, call, refuses):
    flags = ('--labeled', '1/4', '--holdout', '0.1', '--method', 'stratified', '--seed', '5')
    shutil.copytree(root, tmp_path / 'elsewhere')
    call(root / 'img', '--masks', root / 'ann', *flags, '--out', tmp_path / 'one')
    other = tmp_path / 'elsewhere'
    call(other / 'img', '--masks', other / 'ann', *flags, '--out', tmp_path / 'two')
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')
    again = call(root / 'img', '--masks', root / 'ann', *flags, '--out', tmp_path / 'one')
    assert '3 lists unchanged' in again
    with refuses('differs: choose another --out'):
        call(root / 'img', '--masks', root / 'ann', *flags[:-1], '6', '--out', tmp_path / 'one')
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')
    forced = (*flags[:-1], '6', '--force')
    call(root / 'img', '--masks', root / 'ann', *forced, '--out', tmp_path / 'one')
    assert contents(tmp_path / 'one') != contents(tmp_path / 'two')


def test_sequences_stay_together(root, tmp_path, call):
    call(
        root / 'img', '--masks', root / 'ann', '--labeled', '1', '8', '--holdout', '1/4',
        '--groups', '^(seq[0-9])/', '--out', tmp_path,
    )  # fmt: skip
    parts = [
        {stem[:4] for stem in lines(tmp_path / f'{name}.txt')} for name in ('holdout', '8_labeled')
    ]
    assert [len(part) for part in parts] == [1, 2]
    assert not parts[0] & parts[1]
    unlabeled = lines(tmp_path / '8_unlabeled.txt')
    assert not parts[0] & {stem[:4] for stem in unlabeled}  # frames without a mask neither
    assert len(lines(tmp_path / '1_labeled.txt')) == 5


def test_a_class_without_image_is_warned_of(root, tmp_path, call):
    output = call(
        root / 'img', '--masks', root / 'ann', '--labeled', '1', '--out', tmp_path, '--seed', '1'
    )
    assert 'warning: 1_labeled: no image has 2' in output
    stored = json.loads((tmp_path / 'provenance.json').read_text())['warnings']
    assert stored == ['1_labeled: no image has 2']


def test_images_alone_and_a_list_of_those_with_masks(root, tmp_path, call):
    call(root / 'img', '--labeled', '1/8', '--out', tmp_path / 'one')
    assert len(lines(tmp_path / 'one/1_8_labeled.txt')) == 3
    (tmp_path / 'list.txt').write_text('seq0/frame ü00\nseq1/frame ü01\n', encoding='utf-8')
    flags = ('--masks', tmp_path / 'list.txt', '--labeled', '1.0', '--out', tmp_path / 'two')
    call(root / 'img', *flags)
    assert lines(tmp_path / 'two/1.0_labeled.txt') == ['seq0/frame ü00', 'seq1/frame ü01']
    assert len(lines(tmp_path / 'two/1.0_unlabeled.txt')) == 22


@pytest.mark.parametrize(
    ('flags', 'says'),
    [
        (('--labeled', '21'), 'error: cannot choose 21 of 20 images'),
        (('--labeled', '18', '--holdout', '3'), 'error: cannot choose 18 of 17 images'),
        (('--labeled', '3/2'), "error: size '3/2'"),
        (('--labeled', '2', '--seed', '-1'), 'error: seed must not be negative'),
        (('--labeled', '2', '--groups', 'x.tsv'), r"error: --groups 'x\.tsv': no such file"),
        (('--labeled', '2', '--classes', 'a', 'b'), 'error: mask .* holds the label 2'),
        (('--labeled', '2', '--classes', 'a', 'a'), 'error: --classes a a'),
    ],
)
def test_a_mistake_ends_in_one_line_and_writes_nothing(root, tmp_path, call, refuses, flags, says):
    with refuses(says):
        call(root / 'img', '--masks', root / 'ann', *flags, '--out', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_stratified_needs_masks(root, tmp_path, call, refuses):
    flags = ('--labeled', '2', '--method', 'stratified', '--out', tmp_path)
    with refuses('stratified needs a folder of --masks'):
        call(root / 'img', *flags)
    with refuses('no folder'):
        call(root / 'nowhere', *flags)


def test_another_size_joins_without_force(root, tmp_path, call):
    words = [root / 'img', '--masks', root / 'ann', '--holdout', '4', '--out', tmp_path]
    call(*words, '--labeled', '2')
    call(*words, '--labeled', '3')
    assert len(lines(tmp_path / '2_labeled.txt')) == 2
    for name in ('2_labeled', '3_labeled', 'holdout'):
        assert list_record(tmp_path / f'{name}.txt')['sha256']


def test_a_list_with_images_of_the_new_hold_out_is_named(root, tmp_path, call, refuses):
    words = [root / 'img', '--masks', root / 'ann', '--out', tmp_path]
    call(*words, '--labeled', '1/2', '--holdout', '4', '--seed', '0')
    before = contents(tmp_path)
    with refuses('1_2_(un)?labeled.txt has .* images that are held out now, such as'):
        call(*words, '--labeled', '2', '--holdout', '4', '--seed', '1', '--force')
    assert contents(tmp_path) == before
