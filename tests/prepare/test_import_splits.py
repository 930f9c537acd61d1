"""Published lists, in the forms of their repositories, become lists of known family."""

import dataclasses
import hashlib
import json

import original_data as data
import pytest
from tiny import assert_raises

from mmseg_u2pl.datasets.converters.cityscapes import prepare_cityscapes
from mmseg_u2pl.datasets.converters.split_import import import_splits
from mmseg_u2pl.datasets.converters.split_schemes import SCHEMES
from mmseg_u2pl.datasets.converters.voc import prepare_voc
from mmseg_u2pl.version import __version__

# Of the 6 training images of the miniature, 3 have VOC's own masks.
VOC = dataclasses.replace(
    SCHEMES['voc'],
    size=6,
    classic=(1, 3),
    ratios={2: '1_3', 4: '2_3'},
    own_masks={'u2pl': {2: 2}, 'cps': {2: 1, 4: 2}},
)
CITYSCAPES = dataclasses.replace(SCHEMES['cityscapes'], size=5, ratios={2: '1_2'})
OWN, EXTRA = data.VOC_TRAIN, [s for s in data.TRAIN_AUG if s not in data.VOC_TRAIN]


@pytest.fixture
def voc(tmp_path):
    root = data.unpacked_voc(tmp_path / 'voc')
    data.write_tree(tmp_path, data.sbd_files())
    prepare_voc(root, sbd=tmp_path / 'benchmark_RELEASE', counts=data.VOC_COUNTS)
    return root


@pytest.fixture
def cityscapes(tmp_path):
    root = data.cityscapes(tmp_path / 'cityscapes')
    prepare_cityscapes(root, data.CITY_COUNTS)
    return root


@pytest.fixture
def write(tmp_path):
    def write(name, lines, end='\n'):
        path = tmp_path / 'theirs' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.text(lines, end))
        return path

    return write


def lines(root, name):
    return (root / f'splits/{name}.txt').read_text().splitlines()


def provenance(root):
    return json.loads((root / 'splits/provenance.json').read_text())


def unimatch(stems):
    return [f'JPEGImages/{stem}.jpg SegmentationClass/{stem}.png' for stem in stems]


def u2pl_city(stem):
    return f'leftImg8bit/train/{stem}_leftImg8bit.png'


def test_u2pl_repository(voc, write, tmp_path):
    """Stems in folders by size, the last line without its end; val.txt is no such list."""
    write('pascal/2/labeled.txt', [OWN[2], OWN[0]])
    write('pascal/2/unlabeled.txt', [OWN[1], *EXTRA])
    write('pascal/1/labeled.txt', [OWN[1]]).write_text(OWN[1])
    write('pascal/1/unlabeled.txt', [OWN[0], OWN[2], *reversed(EXTRA)])
    write('pascal/val.txt', data.VOC_VAL)
    found = import_splits(VOC, 'u2pl', [tmp_path / 'theirs/pascal'], voc)
    assert {(s.name, s.family) for s in found} == {
        ('classic-1', 'classic'),
        ('blender-u2pl-1_3-2', 'u2pl'),
    }
    assert lines(voc, 'blender-u2pl-1_3-2_labeled') == [OWN[0], OWN[2]]
    assert lines(voc, 'blender-u2pl-1_3-2_unlabeled') == sorted([OWN[1], *EXTRA])
    assert lines(voc, 'classic-1_labeled') == [OWN[1]]
    assert lines(voc, 'classic-1_unlabeled') == sorted({*data.TRAIN_AUG} - {OWN[1]})


def test_unimatch_repository_is_cps(voc, write, tmp_path):
    """Two columns, no unlabeled list here; U²PL's lists, which it has too, are passed over."""
    write('pascal/1_3/labeled.txt', unimatch([OWN[0], EXTRA[0]]))
    write('pascal/u2pl_1_3/labeled.txt', unimatch(OWN[:2]))
    found = import_splits(VOC, 'unimatch', [tmp_path / 'theirs'], voc)
    assert [(s.name, s.family) for s in found] == [('blender-cps-1_3-2', 'cps')]
    assert lines(voc, 'blender-cps-1_3-2_labeled') == sorted([OWN[0], EXTRA[0]])
    assert len(lines(voc, 'blender-cps-1_3-2_unlabeled')) == 4


def test_cps_repository(voc, cityscapes, write):
    """Windows line ends and a mark at the beginning; flat Cityscapes paths with tabs."""
    path = write('subset_train_aug/train_aug_labeled_1-3.txt', [OWN[0], EXTRA[2], ''], '\r\n')
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    import_splits(VOC, 'cps', [path], voc)
    assert lines(voc, 'blender-cps-1_3-2_labeled') == sorted([OWN[0], EXTRA[2]])
    stems = ['jena_000001_000019', 'aachen_000000_000019']
    path = write('subset_train/train_aug_labeled_1-2.txt', [
        f'/images/train/{stem}.png\t/segmentation/train/{stem}_gtFine.png' for stem in stems
    ])  # fmt: skip
    import_splits(CITYSCAPES, 'cps', [path], cityscapes)
    expected = ['aachen/aachen_000000_000019', 'jena/jena_000001_000019']
    assert lines(cityscapes, 'cps-1_2-2_labeled') == expected
    rest = sorted({*data.city_stems('train')} - {*expected})
    assert lines(cityscapes, 'cps-1_2-2_unlabeled') == rest


@pytest.mark.parametrize('columns', [1, 2])
def test_cityscapes_of_u2pl_and_unimatch(cityscapes, write, columns):
    stems = data.city_stems('train')
    masks = [f' gtFine/train/{stem}_gtFine_labelTrainIds.png' if columns == 2 else ''
             for stem in stems]  # fmt: skip
    rows = [u2pl_city(stem) + mask for stem, mask in zip(stems, masks, strict=True)]
    path = write('cityscapes/2/labeled.txt', [rows[4], rows[1]])
    write('cityscapes/2/unlabeled.txt', [rows[2], rows[0], rows[3]])
    import_splits(CITYSCAPES, 'u2pl', [path], cityscapes)
    assert lines(cityscapes, 'u2pl-1_2-2_labeled') == [stems[1], stems[4]]
    assert lines(cityscapes, 'u2pl-1_2-2_unlabeled') == [stems[0], stems[2], stems[3]]


def test_classic_needs_nobodys_list(voc):
    import_splits(VOC, 'classic', [voc / 'ImageSets/Segmentation/train.txt'], voc)
    assert lines(voc, 'classic-3_labeled') == OWN
    assert lines(voc, 'classic-3_unlabeled') == EXTRA


def test_provenance_is_merged(voc, write):
    path = write('pascal/2/labeled.txt', OWN[:2])
    (voc / 'splits').mkdir()
    before = dict(tool='make_splits', options=dict(seed=0), lists={'mine': dict(images=1)})
    (voc / 'splits/provenance.json').write_text(json.dumps(before))
    import_splits(VOC, 'u2pl', [path], voc)
    after = provenance(voc)
    assert {**after, 'lists': None} == {**before, 'lists': None}
    assert after['lists'].pop('mine') == dict(images=1)
    assert set(after['lists']) == {f'blender-u2pl-1_3-2_{p}labeled' for p in ('', 'un')}
    for name, entry in after['lists'].items():
        content = (voc / f'splits/{name}.txt').read_bytes()
        labeled = name.endswith('_labeled')
        assert entry == dict(
            images=2 if labeled else 4,
            sha256=hashlib.sha256(content).hexdigest(),
            family='u2pl',
            source='pascal/2/labeled.txt' + ('' if labeled else ', the rest'),
            tool='import_splits',
            version=__version__,
        )
    text = (voc / 'splits/provenance.json').read_bytes()
    import_splits(VOC, 'u2pl', [path], voc)
    assert (voc / 'splits/provenance.json').read_bytes() == text


def test_other_content_needs_force(voc, write):
    import_splits(VOC, 'u2pl', [write('labeled.txt', OWN[:2])], voc)
    before = {path: path.read_bytes() for path in (voc / 'splits').iterdir()}
    other = write('labeled.txt', OWN[1:])
    assert_raises(
        FileExistsError, lambda: import_splits(VOC, 'u2pl', [other], voc),
        'blender-u2pl-1_3-2_labeled.txt', '--force',
    )  # fmt: skip
    assert {path: path.read_bytes() for path in (voc / 'splits').iterdir()} == before
    import_splits(VOC, 'u2pl', [other], voc, force=True)
    assert lines(voc, 'blender-u2pl-1_3-2_labeled') == OWN[1:]


@pytest.mark.parametrize(
    ('family', 'stems', 'parts'),
    [
        ('cps', OWN[:2], ['family cps', "2 of its 2 images have VOC's own masks, 1 have", 'u2pl']),
        ('u2pl', [OWN[0], EXTRA[0]], ['family u2pl', '1 of its 2', '--family cps']),
        ('u2pl', [*OWN[:2], *EXTRA[:2]], ['family u2pl', '2 of its 4', '--family cps']),
        ('cps', EXTRA[:2], ['family cps', '0 of its 2']),
        ('u2pl', [*OWN[:2], EXTRA[0]], ['family classic', '2 of its 3']),
    ],
)
def test_content_tells_the_family_of_a_voc_list(voc, write, family, stems, parts):
    path = write('labeled.txt', stems)
    assert_raises(ValueError, lambda: import_splits(VOC, family, [path], voc), path, *parts)
    assert not (voc / 'splits').exists()


def test_a_size_of_which_nothing_is_known_is_taken_on_trust(voc, write):
    import_splits(VOC, 'u2pl', [write('labeled.txt', [*OWN, EXTRA[0]])], voc)
    assert lines(voc, 'blender-u2pl-2_3-4_unlabeled') == EXTRA[1:]


def test_one_list_in_two_families(cityscapes, write):
    path = write('labeled.txt', [u2pl_city(stem) for stem in data.city_stems('train')[:2]])
    import_splits(CITYSCAPES, 'u2pl', [path], cityscapes)
    import_splits(CITYSCAPES, 'u2pl', [path], cityscapes)
    assert_raises(
        ValueError, lambda: import_splits(CITYSCAPES, 'cps', [path], cityscapes),
        'cps-1_2-2_labeled', 'u2pl-1_2-2_labeled', 'wrong --family',
    )  # fmt: skip
    assert not (cityscapes / 'splits/cps-1_2-2_labeled.txt').exists()


@pytest.mark.parametrize(
    ('rows', 'parts'),
    [
        ([OWN[0], '', OWN[0]], ['line 3', OWN[0], 'twice', 'line 1']),
        ([OWN[0], 'cat'], ['line 2', "'cat'", '2007_000032']),
        ([OWN[0], f'x{OWN[1]}'], ['line 2']),
        ([OWN[0], data.VOC_VAL[0]], ['line 2', data.VOC_VAL[0], 'no training image']),
        ([*OWN, *EXTRA[:2]], ['5 images', '1, 3, 2, 4']),
        (['', ' '], ['is empty']),
    ],
)
def test_wrong_list_is_named(voc, write, rows, parts):
    path = write('labeled.txt', rows)
    assert_raises(ValueError, lambda: import_splits(VOC, 'u2pl', [path], voc), path, *parts)


def test_unlabeled_list_must_be_the_rest(voc, write):
    path = write('labeled.txt', OWN[:2])
    other = write('unlabeled.txt', [OWN[2], *EXTRA, OWN[1]])
    call = lambda: import_splits(VOC, 'u2pl', [path], voc)  # noqa: E731
    assert_raises(ValueError, call, other, '1 differ', OWN[1])
    write('unlabeled.txt', EXTRA)
    assert_raises(ValueError, call, other, '1 differ', OWN[2], 'labeled.txt')
    write('unlabeled.txt', [*EXTRA, OWN[2]])
    call()


def test_two_lists_of_one_name(voc, write, tmp_path):
    write('a/labeled.txt', OWN[:2])
    write('b/labeled.txt', OWN[:2])
    import_splits(VOC, 'u2pl', [tmp_path / 'theirs'], voc)
    write('b/labeled.txt', OWN[1:])
    assert_raises(
        ValueError, lambda: import_splits(VOC, 'u2pl', [tmp_path / 'theirs'], voc),
        'a/labeled.txt', 'b/labeled.txt', 'blender-u2pl-1_3-2',
    )  # fmt: skip


def test_sources_and_data_must_be_there(voc, cityscapes, write, tmp_path):
    path = write('labeled.txt', OWN[:2])
    calls = {
        'no list or folder': (VOC, 'u2pl', [tmp_path / 'nowhere'], voc),
        '"labeled" in its name': (VOC, 'u2pl', [voc / 'ImageSets'], voc),
        'voc12.py': (VOC, 'u2pl', [path], tmp_path / 'nowhere'),
        'leftImg8bit': (CITYSCAPES, 'u2pl', [path], tmp_path / 'nowhere'),
        "family 'pseudoseg'": (VOC, 'pseudoseg', [path], voc),
        '6 found, 10582 expected': (SCHEMES['voc'], 'u2pl', [path], voc),
        '5 found, 2975 expected': (SCHEMES['cityscapes'], 'u2pl', [path], cityscapes),
    }
    for message, arguments in calls.items():
        assert_raises(
            (ValueError, FileNotFoundError), lambda a=arguments: import_splits(*a), message
        )
    (voc / 'SegmentationClassAug/2008_000009.png').unlink()
    assert_raises(
        FileNotFoundError, lambda: import_splits(VOC, 'u2pl', [path], voc), '2008_000009.png'
    )


def test_broken_provenance_is_named(voc, write):
    path = voc / 'splits/provenance.json'
    path.parent.mkdir()
    for content in ('{', '[]', '{"lists": 3}', '{"lists": {"a": 3}}'):
        path.write_text(content)
        assert_raises(
            ValueError,
            lambda: import_splits(VOC, 'u2pl', [write('labeled.txt', OWN[:2])], voc),
            path,
        )
    assert [p.name for p in path.parent.iterdir()] == ['provenance.json']


def test_known_sizes():
    """As published; the two families have the same sizes, so only their content tells them."""
    voc, cityscapes = SCHEMES['voc'], SCHEMES['cityscapes']
    assert list(voc.classic) == [92, 183, 366, 732, 1464]
    for scheme, sizes in ((voc, [662, 1323, 2646, 5291]), (cityscapes, [186, 372, 744, 1488])):
        assert dict(zip(sizes, ('1_16', '1_8', '1_4', '1_2'), strict=True)) == scheme.ratios
        for size, divisor in zip(sizes, (16, 8, 4, 2), strict=True):
            assert abs(size - scheme.size / divisor) < 1
    assert voc.own_masks['cps'] == {662: 93, 1323: 193, 2646: 388, 5291: 742}
