"""Published lists, in the forms of their repositories, become lists of known family."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from own_folder import mask, save
from tiny import assert_raises

from mmseg_u2pl.prepare.import_splits import CLASSIC, SCHEMES, import_splits
from mmseg_u2pl.version import __version__

ROOT = Path(__file__).parents[2]
OWN, VAL = ['2007_000032', '2007_000039', '2008_000003'], ['2007_000033', '2008_000007']
EXTRA = ['2008_000002', '2008_000008', '2008_000009']
TRAIN_AUG = sorted(OWN + EXTRA)
CITIES = [*(f'aachen/aachen_{i:06}_000019' for i in range(3)), 'jena/jena_000001_000019',
          'jena/jena_000002_000019']  # fmt: skip
# Of the 6 training images of the miniature, 3 have VOC's masks.
VOC = SCHEMES['voc']._replace(
    size=6,
    names={1: {1: 'classic-1'}, 2: {2: 'blender-u2pl-1_3-2', 1: 'blender-cps-1_3-2'},
           3: {3: 'classic-3'}, 4: {None: 'blender-u2pl-2_3-4', 2: 'blender-cps-2_3-4'}},
)  # fmt: skip
CITYSCAPES = SCHEMES['cityscapes']._replace(size=5, names={2: {None: '{}-1_2-2'}})


def write_list(path, lines, end='\n'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(''.join(line + end for line in lines).encode())


@pytest.fixture
def voc(tmp_path):
    """VOC with masks of train_aug and val, as mmseg's converter and a copy leave it."""
    root = tmp_path / 'VOC2012'
    for stem in TRAIN_AUG + VAL:
        save(root / f'JPEGImages/{stem}.jpg', np.zeros((6, 8, 3)))
        save(root / f'SegmentationClassAug/{stem}.png', mask(0, 1, 20))
    write_list(root / 'ImageSets/Segmentation/train.txt', OWN)
    write_list(root / 'ImageSets/Segmentation/val.txt', VAL)
    return root


@pytest.fixture
def cityscapes(tmp_path):
    root = tmp_path / 'cityscapes'
    for stem in CITIES:
        save(root / f'leftImg8bit/train/{stem}_leftImg8bit.png', np.zeros((6, 8, 3)))
        save(root / f'gtFine/train/{stem}_gtFine_labelTrainIds.png', mask(0, 18, 255))
    return root


@pytest.fixture
def theirs(tmp_path):
    """Write lists of a repository; returns its folder."""

    def write(files, end='\n'):
        folder = tmp_path / 'theirs'
        for name, rows in files.items():
            write_list(folder / name, rows, end)
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
        'pascal/5/labeled.txt': TRAIN_AUG[:5],
        'pascal/val.txt': VAL,
        'cityscapes/2/labeled.txt': [u2pl_city(s) for s in CITIES[:2]],
    })  # fmt: skip
    assert import_splits(VOC, folder, voc) == ['blender-u2pl-1_3-2', 'classic-1']
    assert lines(voc, 'blender-u2pl-1_3-2_labeled') == [OWN[0], OWN[2]]
    assert lines(voc, 'blender-u2pl-1_3-2_unlabeled') == sorted([OWN[1], *EXTRA])
    assert lines(voc, 'classic-1_labeled') == [OWN[1]]
    assert lines(voc, 'classic-1_unlabeled') == sorted({*TRAIN_AUG} - {OWN[1]})


def test_unimatch_repository_has_both_families(voc, theirs):
    """Two columns; the content tells the families apart."""
    two = {'1_3': [OWN[0], EXTRA[0]], 'u2pl_1_3': OWN[:2]}
    rows = {
        f'pascal/{name}/labeled.txt': [
            f'JPEGImages/{s}.jpg SegmentationClass/{s}.png' for s in part
        ]
        for name, part in two.items()
    }
    found = import_splits(VOC, theirs(rows), voc)
    assert found == ['blender-cps-1_3-2', 'blender-u2pl-1_3-2']
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
    assert import_splits(VOC, folder, voc) == ['blender-cps-1_3-2']
    assert lines(voc, 'blender-cps-1_3-2_labeled') == sorted([OWN[0], EXTRA[2]])
    assert import_splits(CITYSCAPES, folder, cityscapes, 'cps') == ['cps-1_2-2']
    expected = ['aachen/aachen_000000_000019', 'jena/jena_000001_000019']
    assert lines(cityscapes, 'cps-1_2-2_labeled') == expected
    rest = sorted({*CITIES} - {*expected})
    assert lines(cityscapes, 'cps-1_2-2_unlabeled') == rest


def test_unimatch_v2_repository(tmp_path, theirs):
    """Paths of images and masks in two columns; ADE20K and COCO in one folder of lists."""
    ade = [f'ADE_train_0000000{i}' for i in range(1, 5)]
    coco = [f'00000000000{i}' for i in range(1, 4)]
    for stem in ade:
        save(tmp_path / f'ade/images/training/{stem}.jpg', np.zeros((6, 8, 3)))
    save(tmp_path / 'ade/images/validation/ADE_val_00000001.jpg', np.zeros((6, 8, 3)))
    for stem in coco:
        save(tmp_path / f'coco/images/train2017/{stem}.jpg', np.zeros((6, 8, 3)))
    folder = theirs({
        'splits/ade20k/1_2/labeled.txt': [
            f'images/training/{s}.jpg annotations/training/{s}.png' for s in (ade[2], ade[0])
        ],
        'splits/coco/1_3/labeled.txt': [f'train2017/{coco[1]}.jpg masks/{coco[1]}.png'],
    })  # fmt: skip
    for name, pool, chosen in (('ade20k', ade, [ade[0], ade[2]]), ('coco_stuff', coco, [coco[1]])):
        root = tmp_path / name.removesuffix('20k').removesuffix('_stuff')
        scheme = SCHEMES[name]._replace(size=len(pool), names={len(chosen): {None: 'unimatch-x'}})
        assert import_splits(scheme, folder, root) == ['unimatch-x']
        assert lines(root, 'unimatch-x_labeled') == chosen
        assert lines(root, 'unimatch-x_unlabeled') == sorted({*pool} - {*chosen})


def test_provenance_is_merged(voc, theirs):
    folder = theirs({'pascal/2/labeled.txt': OWN[:2]})
    (voc / 'splits').mkdir()
    before = dict(tool='make_splits', options=dict(seed=0), lists={'mine': dict(images=1)})
    (voc / 'splits/provenance.json').write_text(json.dumps(before))
    import_splits(VOC, folder, voc)
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
    import_splits(VOC, theirs({'labeled.txt': OWN[:2]}), voc)
    before = {path: path.read_bytes() for path in (voc / 'splits').iterdir()}
    folder = theirs({'labeled.txt': OWN[1:]})
    assert_raises(
        FileExistsError, lambda: import_splits(VOC, folder, voc),
        'blender-u2pl-1_3-2_labeled.txt', '--force',
    )  # fmt: skip
    assert {path: path.read_bytes() for path in (voc / 'splits').iterdir()} == before
    import_splits(VOC, folder, voc, force=True)
    assert lines(voc, 'blender-u2pl-1_3-2_labeled') == OWN[1:]


@pytest.mark.parametrize(
    ('stems', 'parts'),
    [
        (EXTRA[:2], ["0 of its 2 images have VOC's masks, of those published 2 or 1"]),
        ([*OWN[:2], EXTRA[0]], ['2 of its 3', 'published 3']),
        ([OWN[0], VAL[0]], [VAL[0], 'not a training image']),
    ],
)
def test_a_list_that_is_not_published_is_named(voc, theirs, stems, parts):
    folder = theirs({'labeled.txt': stems})
    call = lambda: import_splits(VOC, folder, voc)  # noqa: E731
    assert_raises(ValueError, call, folder / 'labeled.txt', *parts)
    assert not (voc / 'splits').exists()


def test_a_size_with_one_known_content(voc, theirs):
    assert import_splits(VOC, theirs({'labeled.txt': [*OWN, EXTRA[0]]}), voc) == [
        'blender-u2pl-2_3-4'
    ]
    assert import_splits(VOC, theirs({'labeled.txt': [*OWN[:2], *EXTRA[:2]]}), voc) == [
        'blender-cps-2_3-4'
    ]


def test_two_lists_of_one_name(voc, theirs):
    import_splits(VOC, theirs({'a/labeled.txt': OWN[:2], 'b/labeled.txt': OWN[:2]}), voc)
    folder = theirs({'b/labeled.txt': OWN[1:]})
    assert_raises(
        ValueError, lambda: import_splits(VOC, folder, voc),
        'a/labeled.txt', 'b/labeled.txt', 'blender-u2pl-1_3-2',
    )  # fmt: skip


def test_folder_and_data_must_exist(voc, cityscapes, theirs, tmp_path):
    folder = theirs({'labeled.txt': OWN[:2]})
    calls = {
        'no published list of': (VOC, tmp_path / 'nowhere', voc),
        'no published list': (VOC, voc / 'ImageSets', voc),
        'no list': (VOC, folder, tmp_path / 'nowhere'),
        'has 0 training images, 5 expected': (CITYSCAPES, folder, tmp_path / 'nowhere'),
        'has 6 training images, 10582 expected': (SCHEMES['voc'], folder, voc),
        'has 5 training images, 2975 expected': (SCHEMES['cityscapes'], folder, cityscapes),
    }
    for message, arguments in calls.items():
        assert_raises(
            (ValueError, FileNotFoundError), lambda a=arguments: import_splits(*a), message
        )


def test_known_sizes():
    """As published; the two families have the same sizes, so only their content tells them."""
    known = {
        'voc': {662: 16, 1323: 8, 2646: 4, 5291: 2},
        'cityscapes': {186: 16, 372: 8, 744: 4, 1488: 2},
        'ade20k': {316: 64, 631: 32, 1263: 16, 2526: 8},
        'coco_stuff': {232: 512, 463: 256, 925: 128, 1849: 64, 3697: 32},
    }
    assert set(known) == set(SCHEMES)
    for name, sizes in known.items():
        scheme = SCHEMES[name]
        names = {n: of for n, of in scheme.names.items() if name != 'voc' or n not in CLASSIC}
        assert list(names) == list(sizes)
        for size, divisor in sizes.items():
            for listed in names[size].values():
                assert listed.endswith(f'-1_{divisor}-{size}')
            assert abs(size - scheme.size / divisor) < 1


# ---------------------------------------------------------------- command line and configs
def test_the_command_line(voc, theirs, run_tool, capsys, monkeypatch, refuses):
    monkeypatch.setitem(SCHEMES, 'voc', VOC)
    run_tool('import_splits.py', 'voc', theirs({'labeled.txt': OWN[1:]}), '--data-root', voc)
    assert capsys.readouterr().out == f'{voc}/splits: blender-u2pl-1_3-2\n'
    assert lines(voc, 'blender-u2pl-1_3-2_labeled') == OWN[1:]
    with refuses('^error: no published list'):
        run_tool('import_splits.py', 'voc', voc / 'nowhere', '--data-root', voc)


@pytest.mark.parametrize(
    ('dataset', 'split'),
    [('voc12', 'blender-u2pl-1_16-662'), ('cityscapes', 'cps-1_2-1488')],
)
def test_a_config_loads_the_lists(voc, cityscapes, theirs, monkeypatch, dataset, split):
    root, scheme, stems = voc, VOC, [*OWN[:2], EXTRA[0]]
    if dataset == 'cityscapes':
        root, scheme, stems = cityscapes, CITYSCAPES, CITIES[:3]
    rows = [stem + {'voc12': '.jpg', 'cityscapes': '.png'}[dataset] for stem in stems[:2]]
    (name,) = import_splits(scheme, theirs({'labeled.txt': rows}), root, 'cps')
    for part in ('labeled', 'unlabeled'):  # the miniature has another number of images
        (root / f'splits/{name}_{part}.txt').rename(root / f'splits/{split}_{part}.txt')
    monkeypatch.setenv({'voc12': 'VOC_ROOT', 'cityscapes': 'CITYSCAPES_ROOT'}[dataset], str(root))
    monkeypatch.setenv('SPLIT', split)
    path = next(ROOT.glob(f'configs/u2pl/u2pl_r101-*{dataset}*.py'))
    parts = Config.fromfile(path).train_dataloader.dataset
    labeled, unlabeled = (DATASETS.build(parts[part]) for part in ('labeled', 'unlabeled'))
    assert len(labeled) == 2
    assert len(unlabeled) == scheme.size - 2
    for i, stem in enumerate(stems[:2]):
        assert f'/{stem}' in labeled.get_data_info(i)['img_path']
    assert f'/{stems[2]}' in ' '.join(
        unlabeled.get_data_info(i)['img_path'] for i in range(len(unlabeled))
    )
    assert 'gt_sem_seg' in labeled[0]['data_samples']
    assert 'gt_sem_seg' in unlabeled[0]['data_samples']  # which pixels are padding
