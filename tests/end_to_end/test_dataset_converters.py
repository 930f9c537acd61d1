"""The converters' command lines, and from the downloads to a config's data set."""

import re
from pathlib import Path

import original_data as data
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_u2pl.prepare.converters import cityscapes, voc
from mmseg_u2pl.prepare.converters.split_lists import SCHEMES, import_splits

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools/dataset_converters'


@pytest.fixture
def call(run_tool, capsys):
    """Run a tool in this process; returns what it printed."""

    def run(name, *arguments):
        run_tool(f'dataset_converters/{name}', *arguments)
        return capsys.readouterr().out

    return run


@pytest.fixture(autouse=True)
def miniature(monkeypatch):
    """The command lines expect the official counts; here, those of the miniatures."""
    for known, counts in ((voc, data.VOC_COUNTS), (cityscapes, data.CITY_COUNTS)):
        for part, number in counts.items():
            monkeypatch.setitem(known.COUNTS, part, number)
    small = SCHEMES['voc']._replace(size=6, ratios={2: '1_16'}, families={2: {1: 'cps'}})
    monkeypatch.setitem(SCHEMES, 'voc', small)
    small = SCHEMES['cityscapes']._replace(size=5, ratios={2: '1_2'})
    monkeypatch.setitem(SCHEMES, 'cityscapes', small)


@pytest.fixture
def downloads(tmp_path):
    """VOC's data root and SBD's folder, unpacked."""
    data.write_tree(tmp_path, data.sbd_files())
    return data.unpacked_voc(tmp_path), tmp_path / 'benchmark_RELEASE/dataset'


def test_voc_from_downloads_to_lists(call, downloads, tmp_path):
    root, sbd = downloads
    output = call('voc12.py', '--sbd', sbd, '--data-root', root)
    assert '3 train, 2 val, 6 train_aug, checked' in output
    assert call('voc12.py', '--data-root', root).split() == output.split()
    data.write_tree(tmp_path, {'theirs/labeled.txt': data.text(data.TRAIN_AUG[1:3])})
    output = call('import_splits.py', 'voc', tmp_path / 'theirs', '--data-root', root)
    assert 'blender-cps-1_16-2: 2 labeled + 4 unlabeled' in output
    assert (root / 'splits/blender-cps-1_16-2_unlabeled.txt').is_file()


def test_cityscapes(call, tmp_path, monkeypatch):
    root = data.cityscapes(tmp_path / 'cityscapes')
    monkeypatch.setenv('CITYSCAPES_ROOT', str(root))
    assert '5 train (5 masks made), 2 val (2 masks made), checked' in call('cityscapes.py')
    stems = data.city_stems('train')[:2]
    rows = data.text(f'leftImg8bit/train/{stem}_leftImg8bit.png' for stem in stems)
    data.write_tree(tmp_path, {'theirs/labeled.txt': rows})
    call('import_splits.py', 'cityscapes', tmp_path / 'theirs', '--family', 'cps')
    assert (root / 'splits/cps-1_2-2_labeled.txt').read_bytes() == data.text(stems)


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['voc12.py'], 'VOCtrainval_11-May-2012.tar'),
        (['cityscapes.py'], 'leftImg8bit_trainvaltest.zip'),
        (['import_splits.py', 'voc', 'x'], 'voc12.py'),
    ],
)
def test_a_mistake_ends_in_one_line(run_tool, capsys, tmp_path, arguments, says):
    name, *words = arguments
    with pytest.raises(SystemExit) as error:
        run_tool(f'dataset_converters/{name}', *words, '--data-root', tmp_path)
    assert error.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith('error: ')
    assert message.count('\n') == 1
    assert says in message


@pytest.mark.parametrize(
    ('dataset', 'split'),
    [
        ('voc12', 'blender-u2pl-1_16-662'),
        ('voc12', 'blender-cps-1_16-662'),
        ('cityscapes', 'cps-1_2-1488'),
    ],
)
def test_a_config_loads_the_imported_lists(downloads, tmp_path, monkeypatch, dataset, split):
    """From the downloads to the samples of a shipped config."""
    if dataset == 'voc12':
        root, stems = downloads[0], data.TRAIN_AUG
        voc.prepare_voc(*downloads)
    else:
        root, stems = data.cityscapes(tmp_path), data.city_stems('train')
        cityscapes.prepare_cityscapes(root)
    suffix = '.jpg' if dataset == 'voc12' else '.png'
    rows = data.text(stem + suffix for stem in stems[1:3])
    data.write_tree(tmp_path, {'theirs/labeled.txt': rows})
    scheme = SCHEMES[dataset.removesuffix('12')]
    name = next(iter(import_splits(scheme, tmp_path / 'theirs', root, split.split('-')[-3])))
    for part in ('labeled', 'unlabeled'):  # the miniature has another number of images
        (root / f'splits/{name}_{part}.txt').rename(root / f'splits/{split}_{part}.txt')

    monkeypatch.setenv(f'{dataset.upper().removesuffix("12")}_ROOT', str(root))
    monkeypatch.setenv('SPLIT', split)
    path = next(ROOT.glob(f'configs/u2pl/u2pl_r101-*{dataset}*.py'))
    parts = Config.fromfile(path).train_dataloader.dataset
    for part, expected in (('labeled', stems[1:3]), ('unlabeled', [stems[0], *stems[3:]])):
        built = DATASETS.build(parts[part])
        paths = [built.get_data_info(i)['img_path'] for i in range(len(built))]
        assert [
            re.sub(r'^.*/(JPEGImages|train)/|_leftImg8bit|\..+$', '', p) for p in paths
        ] == expected
        assert 'gt_sem_seg' in built[0]['data_samples']  # of unlabeled images: what is padding
