"""Published lists, in the forms of their repositories, become lists of known family."""

import hashlib
import json

import original_data as data
import pytest
from tiny import assert_raises

from mmseg_u2pl.prepare.converters.cityscapes import prepare_cityscapes
from mmseg_u2pl.prepare.converters.split_lists import SCHEMES, import_splits
from mmseg_u2pl.prepare.converters.voc import prepare_voc
from mmseg_u2pl.version import __version__

# Of the 6 training images of the miniature, 3 have VOC's masks.
VOC = SCHEMES['voc']._replace(
    size=6,
    classic=(1, 3),
    ratios={2: '1_3', 4: '2_3'},
    families={2: {2: 'u2pl', 1: 'cps'}, 4: {2: 'cps'}},
)
CITYSCAPES = SCHEMES['cityscapes']._replace(size=5, ratios={2: '1_2'})
OWN, EXTRA = data.VOC_TRAIN, [s for s in data.TRAIN_AUG if s not in data.VOC_TRAIN]


@pytest.fixture(scope='module')
def voc_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('voc')
    root = data.unpacked_voc(folder)
    data.write_tree(folder, data.sbd_files())
    prepare_voc(root, folder / 'benchmark_RELEASE/dataset', data.VOC_COUNTS)
    return root


@pytest.fixture
def voc(voc_root, tmp_path):
    """A data root of this test's lists."""
    root = tmp_path / 'voc'
    root.mkdir()
    (root / 'ImageSets').symlink_to(voc_root / 'ImageSets')
    return root


@pytest.fixture
def cityscapes(tmp_path):
    root = data.cityscapes(tmp_path / 'cityscapes')
    prepare_cityscapes(root, data.CITY_COUNTS)
    return root


@pytest.fixture
def theirs(tmp_path):
    """Write lists of a repository; returns its folder."""

    def write(files, end='\n'):
        folder = tmp_path / 'theirs'
        data.write_tree(folder, {name: data.text(lines, end) for name, lines in files.items()})
        return folder

    return write


def lines(root, name):
    return (root / f'splits/{name}.txt').read_text().splitlines()


def u2pl_city(stem):
    return f'leftImg8bit/train/{stem}_leftImg8bit.png'


def test_u2pl_repository(voc, theirs):
    """Lists of other data sets and sizes, and lists that are not of labeled images, are left out."""
    folder = theirs({
        'pascal/2/labeled.txt': [OWN[2], OWN[0]],
        'pascal/2/unlabeled.txt': [OWN[1], *EXTRA],
        'pascal/1/labeled.txt': [OWN[1]],
        'pascal/5/labeled.txt': data.TRAIN_AUG[:5],
        'pascal/val.txt': data.VOC_VAL,
        'cityscapes/2/labeled.txt': [u2pl_city(s) for s in data.city_stems('train')[:2]],
    })  # fmt: skip
    assert import_splits(VOC, folder, voc, 'u2pl') == {'classic-1': 1, 'blender-u2pl-1_3-2': 2}
    assert lines(voc, 'blender-u2pl-1_3-2_labeled') == [OWN[0], OWN[2]]
    assert lines(voc, 'blender-u2pl-1_3-2_unlabeled') == sorted([OWN[1], *EXTRA])
    assert lines(voc, 'classic-1_labeled') == [OWN[1]]
    assert lines(voc, 'classic-1_unlabeled') == sorted({*data.TRAIN_AUG} - {OWN[1]})


def test_unimatch_repository_has_both_families(voc, theirs):
    """Two columns; the content tells the families apart."""
    two = {'1_3': [OWN[0], EXTRA[0]], 'u2pl_1_3': OWN[:2]}
    rows = {
        f'pascal/{name}/labeled.txt': [
            f'JPEGImages/{s}.jpg SegmentationClass/{s}.png' for s in part
        ]
        for name, part in two.items()
    }
    found = import_splits(VOC, theirs(rows), voc, 'u2pl')
    assert found == {'blender-cps-1_3-2': 2, 'blender-u2pl-1_3-2': 2}
    assert lines(voc, 'blender-cps-1_3-2_labeled') == sorted([OWN[0], EXTRA[0]])


def test_cps_repository(voc, cityscapes, theirs):
    """Windows line ends and a mark at the beginning; flat Cityscapes paths with tabs."""
    stems = ['jena_000001_000019', 'aachen_000000_000019']
    rows = [f'/images/train/{s}.png\t/segmentation/train/{s}_gtFine.png' for s in stems]
    folder = theirs({
        'DATA/pascal_voc/subset_train_aug/train_aug_labeled_1-3.txt': [OWN[0], EXTRA[2], ''],
        'DATA/city/subset_train/train_aug_labeled_1-2.txt': rows,
    }, '\r\n')  # fmt: skip
    path = folder / 'DATA/pascal_voc/subset_train_aug/train_aug_labeled_1-3.txt'
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    assert import_splits(VOC, folder, voc, 'u2pl') == {'blender-cps-1_3-2': 2}
    assert lines(voc, 'blender-cps-1_3-2_labeled') == sorted([OWN[0], EXTRA[2]])
    assert import_splits(CITYSCAPES, folder, cityscapes, 'cps') == {'cps-1_2-2': 2}
    expected = ['aachen/aachen_000000_000019', 'jena/jena_000001_000019']
    assert lines(cityscapes, 'cps-1_2-2_labeled') == expected
    rest = sorted({*data.city_stems('train')} - {*expected})
    assert lines(cityscapes, 'cps-1_2-2_unlabeled') == rest


def test_provenance_is_merged(voc, theirs):
    folder = theirs({'pascal/2/labeled.txt': OWN[:2]})
    (voc / 'splits').mkdir()
    before = dict(tool='make_splits', options=dict(seed=0), lists={'mine': dict(images=1)})
    (voc / 'splits/provenance.json').write_text(json.dumps(before))
    import_splits(VOC, folder, voc, 'u2pl')
    after = json.loads((voc / 'splits/provenance.json').read_text())
    assert {**after, 'lists': None} == {**before, 'lists': None}
    assert after['lists'].pop('mine') == dict(images=1)
    assert set(after['lists']) == {f'blender-u2pl-1_3-2_{p}labeled' for p in ('', 'un')}
    for name, entry in after['lists'].items():
        content = (voc / f'splits/{name}.txt').read_bytes()
        assert entry == dict(
            images=2 if name.endswith('_labeled') else 4,
            sha256=hashlib.sha256(content).hexdigest(),
            family='u2pl',
            source='pascal/2/labeled.txt',
            tool='import_splits',
            version=__version__,
        )


def test_other_content_needs_force(voc, theirs):
    import_splits(VOC, theirs({'labeled.txt': OWN[:2]}), voc, 'u2pl')
    before = {path: path.read_bytes() for path in (voc / 'splits').iterdir()}
    folder = theirs({'labeled.txt': OWN[1:]})
    assert_raises(
        FileExistsError, lambda: import_splits(VOC, folder, voc, 'u2pl'),
        'blender-u2pl-1_3-2_labeled.txt', '--force',
    )  # fmt: skip
    assert {path: path.read_bytes() for path in (voc / 'splits').iterdir()} == before
    import_splits(VOC, folder, voc, 'u2pl', force=True)
    assert lines(voc, 'blender-u2pl-1_3-2_labeled') == OWN[1:]


@pytest.mark.parametrize(
    ('stems', 'parts'),
    [
        (EXTRA[:2], ['family u2pl', "0 of its 2 images have VOC's masks", 'known are [2, 1]']),
        ([*OWN[:2], EXTRA[0]], ['family classic', '2 of its 3']),
        ([OWN[0], data.VOC_VAL[0]], [data.VOC_VAL[0], 'not a training image']),
    ],
)
def test_a_list_that_is_not_published_is_named(voc, theirs, stems, parts):
    folder = theirs({'labeled.txt': stems})
    call = lambda: import_splits(VOC, folder, voc, 'u2pl')  # noqa: E731
    assert_raises(ValueError, call, folder / 'labeled.txt', *parts)
    assert not (voc / 'splits').exists()


def test_a_size_without_known_content_has_the_given_family(voc, theirs):
    folder = theirs({'labeled.txt': [*OWN, EXTRA[0]]})
    assert import_splits(VOC, folder, voc, 'u2pl') == {'blender-u2pl-2_3-4': 4}
    assert_raises(ValueError, lambda: import_splits(VOC, folder, voc, 'cps'), '3 of its 4')


def test_two_lists_of_one_name(voc, theirs):
    import_splits(VOC, theirs({'a/labeled.txt': OWN[:2], 'b/labeled.txt': OWN[:2]}), voc, 'u2pl')
    folder = theirs({'b/labeled.txt': OWN[1:]})
    assert_raises(
        ValueError, lambda: import_splits(VOC, folder, voc, 'u2pl'),
        'a/labeled.txt', 'b/labeled.txt', 'blender-u2pl-1_3-2',
    )  # fmt: skip


def test_folder_and_data_must_exist(voc, cityscapes, theirs, tmp_path):
    folder = theirs({'labeled.txt': OWN[:2]})
    calls = {
        'no published list of': (VOC, tmp_path / 'nowhere', voc),
        'no published list': (VOC, voc / 'ImageSets', voc),
        'voc12.py': (VOC, folder, tmp_path / 'nowhere'),
        '0 found, 5 expected': (CITYSCAPES, folder, tmp_path / 'nowhere'),
        '6 found, 10582 expected': (SCHEMES['voc'], folder, voc),
        '5 found, 2975 expected': (SCHEMES['cityscapes'], folder, cityscapes),
    }
    for message, arguments in calls.items():
        assert_raises(
            (ValueError, FileNotFoundError),
            lambda a=arguments: import_splits(*a, family='u2pl'),
            message,
        )


def test_known_sizes():
    """As published; the two families have the same sizes, so only their content tells them."""
    voc, cityscapes = SCHEMES['voc'], SCHEMES['cityscapes']
    assert list(voc.classic) == [92, 183, 366, 732, 1464]
    for scheme, sizes in ((voc, [662, 1323, 2646, 5291]), (cityscapes, [186, 372, 744, 1488])):
        assert dict(zip(sizes, ('1_16', '1_8', '1_4', '1_2'), strict=True)) == scheme.ratios
        for size, divisor in zip(sizes, (16, 8, 4, 2), strict=True):
            assert abs(size - scheme.size / divisor) < 1
