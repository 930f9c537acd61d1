"""What lists are called, whether they were edited, and whether they overlap."""

import json
import os
import shutil
import subprocess

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from mmseg_u2pl.datasets.provenance import (
    Images,
    check_disjoint,
    list_record,
    protocol_of,
)


def write(path, *lines, end='\n'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(''.join(line + end for line in lines).encode())
    return path


def record(folder, lists, **head):
    (folder / 'provenance.json').write_text(json.dumps(dict(head, lists=lists)))


def sha256(path):
    """As the system's own tool has it."""
    out = subprocess.run(['sha256sum', path], capture_output=True, text=True, check=True).stdout
    return out.split()[0]


@pytest.fixture
def published(tmp_path):
    """A list 1_16.txt of the family u2pl."""
    path = write(tmp_path / 'published' / '1_16.txt', 'a', 'b')
    entry = dict(images=2, sha256=sha256(path), family='u2pl', source='somewhere')
    record(path.parent, {'1_16': entry})
    return path


def listed(path, *names, folder='/r'):
    """Images that a list names, whole or in part."""
    return Images([f'{folder}/{name}' for name in names], str(path), folder)


# --------------------------------------------------------------------------------- names
def test_a_list_without_record_is_its_name_and_the_hash_of_its_lines(tmp_path):
    path = write(tmp_path / '1_16_labeled.txt', 'a', 'x/b')
    digest = sha256(path)[:8]
    expected = (f'1_16_labeled {digest}', '', '1_16_labeled', digest)
    assert protocol_of([listed(path, 'a.jpg', 'x/b.PNG')]) == expected
    assert protocol_of([listed(path, 'a.jpg', 'x/b.png', folder='/elsewhere/train')]) == expected
    write(path, 'a.jpg', 'x/b.PNG')
    assert protocol_of([listed(path, 'a.jpg', 'x/b.PNG')]) == expected
    write(path, 'x/b', 'a')
    assert protocol_of([listed(path, 'x/b.png', 'a.jpg')]) != expected  # the order counts


def test_both_unicode_forms_of_a_name_are_one(tmp_path):
    path = write(tmp_path / 'list.txt', 'Köln')
    protocols = []
    for name in ('K\u00f6ln', 'Ko\u0308ln.png'):
        protocols.append(protocol_of([listed(write(path, name), name)]))
    assert protocols[0] == protocols[1]


def test_a_published_list_is_called_by_its_family(published):
    digest = sha256(published)[:8]
    images = listed(published, 'a.jpg', 'b.jpg')
    assert protocol_of([images]) == (f'u2pl 1_16 {digest}', 'u2pl', '1_16', digest)


def test_make_splits_leaves_lists_that_know_their_draw(data_root, tmp_path, run_tool):
    folders = (data_root / 'images' / 'train', '--masks', data_root / 'masks' / 'train')
    options = ('--labeled', '1/2', '--method', 'stratified', '--seed', '3', '--out', tmp_path / 's')
    run_tool('make_splits.py', *folders, *options)
    path = tmp_path / 's' / '1_2_labeled.txt'
    images = listed(path, *(f'{line}.png' for line in path.read_text().split()))
    digest, family = sha256(path)[:8], 'make_splits stratified seed 3'
    expected = (f'{family} 1_2_labeled {digest}', family, '1_2_labeled', digest)
    assert protocol_of([images]) == expected
    assert list_record(path)['class_share'].keys() == {'0', '1', '2'}
    other = path.with_name('1_2_unlabeled.txt')
    assert protocol_of([listed(other)]).family == family
    # another list in the same folder was not drawn
    mine = shutil.copy(path, path.with_name('mine.txt'))
    assert protocol_of([images._replace(ann_file=str(mine))]).family == ''


def test_written_lists_of_images_with_two_suffixes_are_not_taken_for_edited(tmp_path, run_tool):
    images = tmp_path / 'images'
    for name in 'abcd':
        write(images / f'{name}.jpg.png', 'never opened')
    run_tool('make_splits.py', images, '--labeled', 2, '--out', tmp_path / 'splits')
    path = tmp_path / 'splits/2_labeled.txt'
    names = [f'{line}.png' for line in path.read_text().split()]
    assert all(name.endswith('.jpg.png') for name in names)
    assert protocol_of([listed(path, *names)]).family == 'make_splits plain seed 0'


def test_all_of_a_folder_is_its_name_count_and_stems(tmp_path):
    def protocol(root, *names):
        return protocol_of([Images([f'{root}/train/{n}' for n in names], '', f'{root}/train')])

    one = protocol(tmp_path, 'a.jpg', 'x/b.jpg')
    assert one.name == f'all of train {one.digest}'
    assert (one.family, one.list_name) == ('', 'all of train')
    assert one == protocol('/elsewhere/../data', 'x/b.png', 'a.png')
    assert one.digest != protocol(tmp_path, 'a.jpg', 'y/b.jpg').digest
    assert one.name != protocol(tmp_path, 'a.jpg').name


def test_several_lists_are_named_together(tmp_path, published):
    one = listed(published, 'a.jpg', 'b.jpg')
    own = write(tmp_path / 'own.txt', 'c')
    other = listed(own, 'c.jpg')
    both = protocol_of([one, other])
    assert both.name == f'{protocol_of([one]).name} + own {sha256(own)[:8]}'
    assert (both.family, both.list_name) == ('', '1_16 + own')
    assert both.digest != protocol_of([other, one]).digest
    assert protocol_of([one, one]).family == 'u2pl'


# ------------------------------------------------------------------------------- edited lists
def test_an_edited_list_is_refused(published):
    images = listed(published, 'a.jpg', 'b.jpg')
    protocol = protocol_of([images])
    published.write_bytes(b'a\r\nb\r\n')
    assert protocol_of([images]) == protocol  # git on another system
    write(published, 'a', 'c')
    parts = (str(published), 'edited after it was made', "delete the entry '1_16'")
    tiny.assert_raises(ValueError, lambda: protocol_of([images]), *parts)


def test_lists_that_the_record_does_not_know_pass(published):
    path = write(published.with_name('own.txt'), 'x')
    assert protocol_of([listed(path, 'x.jpg')]).family == ''


@pytest.mark.parametrize(
    'text', ['{', '[]', '{}', '{"lists": {"1_16": 3}}', '{"options": {}, "lists": {"1_16": {"images": 2}}}']
)  # fmt: skip
def test_a_broken_record_is_named(published, text):
    file = published.with_name('provenance.json')
    file.write_text(text)
    tiny.assert_raises(
        ValueError, lambda: protocol_of([listed(published, 'a.jpg')]), str(file), 'restore it'
    )


# ------------------------------------------------------------------------------ overlap
def images(root, names, ann_file=''):
    return Images([f'{root}/{name}.png' for name in names], str(ann_file), str(root))


STREAMS = ('labeled', 'unlabeled', 'val', 'test')
NAMES = st.lists(st.sampled_from('abcdefgh'), unique=True, max_size=4)


@given(st.fixed_dictionaries(dict.fromkeys(STREAMS, NAMES)))
def test_any_overlap_but_that_of_val_and_test_is_refused(names):
    streams = {name: [images('/r', names[name])] for name in STREAMS}
    allowed = {'val', 'test'}
    overlaps = [
        (one, other)
        for one in STREAMS
        for other in STREAMS[STREAMS.index(one) + 1 :]
        if {one, other} != allowed and set(names[one]) & set(names[other])
    ]
    if not overlaps:
        check_disjoint(streams)
        return
    with pytest.raises(ValueError, match='images both') as error:
        check_disjoint(streams)
    one, other = overlaps[0]
    common = [name for name in names[one] if name in names[other]]
    expected = (
        f"images both {one} and {other}: {len(common)}, the first is '/r/{min(common)}.png' ("
    )
    assert str(error.value).startswith(expected)


def test_the_lists_and_the_remedy_are_named():
    labeled = Images(['/r/b.jpg', '/r/x/a.jpg'], 'l.txt', '/r')
    other = Images(['/r/a.jpg', '/r/x/a.jpg'], '', '/r')
    parts = (
        "images both labeled and unlabeled: 1, the first is '/r/x/a.jpg'",
        '(labeled: l.txt, unlabeled: /r)',
        'unlabeled.without',
        'tools/make_splits.py',
    )
    streams = dict(labeled=[labeled], unlabeled=[other])
    tiny.assert_raises(ValueError, lambda: check_disjoint(streams), *parts)
    streams = dict(labeled=[labeled], val=[other])
    says = ('labeled and val: 1', 'remove them from one')
    tiny.assert_raises(ValueError, lambda: check_disjoint(streams), *says)


def test_a_link_does_not_hide_an_overlap(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'images')
    for other in (
        tmp_path / 'link',
        f'{tmp_path}/images/../images',
        os.path.relpath(tmp_path / 'images'),
    ):
        streams = dict(labeled=[images(tmp_path / 'images', 'ab')], val=[images(other, 'bc')])
        tiny.assert_raises(
            ValueError, lambda s=streams: check_disjoint(s), f'{tmp_path}/images/b.png'
        )


def test_links_to_files_do_not_hide_an_overlap(tmp_path):
    for folder in ('all', 'unlabeled', 'val'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'all/a.png').touch()
    for folder in ('unlabeled', 'val'):
        (tmp_path / folder / 'a.png').symlink_to(tmp_path / 'all/a.png')
    streams = {name: [images(tmp_path / name, 'a')] for name in ('unlabeled', 'val')}
    says = 'unlabeled and val: 1', f'{tmp_path}/all/a.png'
    tiny.assert_raises(ValueError, lambda: check_disjoint(streams), *says)


def test_all_data_sets_of_a_stream_count():
    streams = dict(
        labeled=[images('/r', 'a'), images('/s', 'b')], val=[images('/t', 'a'), images('/s', 'b')]
    )
    tiny.assert_raises(
        ValueError, lambda: check_disjoint(streams), 'labeled and val: 1,', "'/s/b.png'"
    )


def test_an_image_that_is_there_twice_is_named(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'images')
    linked = images(tmp_path / 'link', 'a').paths
    for folder, more in ((tmp_path / 'images', linked), ('/r', ['/r/a.png'])):
        one = images(folder, 'abc')
        for stream in STREAMS:
            tiny.assert_raises(
                ValueError,
                lambda one=one, more=more, stream=stream: check_disjoint(
                    {stream: [one._replace(paths=[*one.paths, *more])]}
                ),
                f"{one.ann_file}: the image '{folder}/a.png' is there 2 times",
                'RepeatDataset',
            )
    again = [images('/r', 'ab'), images('/r', 'bc')]  # as a ConcatDataset says it
    check_disjoint(dict(labeled=again))
