"""The converters' command lines, and from the downloads to a config's data set."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import original_data as data
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_u2pl.datasets.converters import cityscapes, voc
from mmseg_u2pl.datasets.converters.split_import import import_splits
from mmseg_u2pl.datasets.converters.split_schemes import SCHEMES

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
    small_voc = dataclasses.replace(SCHEMES['voc'], size=6, ratios={2: '1_16'}, own_masks={})
    small_cityscapes = dataclasses.replace(SCHEMES['cityscapes'], size=5, ratios={2: '1_2'})
    monkeypatch.setitem(SCHEMES, 'voc', small_voc)
    monkeypatch.setitem(SCHEMES, 'cityscapes', small_cityscapes)


@pytest.fixture
def downloads(tmp_path):
    return dict(
        voc=data.write_archive(tmp_path / 'VOCtrainval_11-May-2012.tar', data.voc_files(), 'w'),
        sbd=data.write_archive(tmp_path / 'benchmark.tgz', data.sbd_files(), 'w:gz'),
    )


def test_voc_from_archives_to_lists(call, downloads, tmp_path):
    root = tmp_path / 'VOC2012'
    output = call('voc12.py', '--voc', downloads['voc'], '--sbd', downloads['sbd'],
                  '--data-root', root)  # fmt: skip
    assert '3 train, 2 val, 6 train_aug, checked' in output
    assert call('voc12.py', '--data-root', root).split() == output.split()
    (tmp_path / 'labeled.txt').write_bytes(data.text(data.TRAIN_AUG[:2]))
    output = call('import_splits.py', 'voc', '--family', 'unimatch', tmp_path / 'labeled.txt',
                  '--data-root', root)  # fmt: skip
    assert re.search(r'blender-cps-1_16-2\W+cps\W+2\W+4', output)
    assert 'unimatch has the lists of cps' in output
    assert (root / 'splits/blender-cps-1_16-2_unlabeled.txt').is_file()


def test_cityscapes(call, tmp_path, monkeypatch):
    root = data.cityscapes(tmp_path / 'cityscapes')
    monkeypatch.setenv('CITYSCAPES_ROOT', str(root))
    assert '5 train (5 masks made), 2 val (2 masks made), checked' in call('cityscapes.py')
    (tmp_path / 'labeled.txt').write_bytes(
        data.text(f'leftImg8bit/train/{s}_leftImg8bit.png' for s in data.city_stems('train')[:2])
    )
    call('import_splits.py', 'cityscapes', '--family', 'cps', tmp_path / 'labeled.txt')
    assert (root / 'splits/cps-1_2-2_labeled.txt').read_bytes() == data.text(
        data.city_stems('train')[:2]
    )


@pytest.mark.parametrize(
    ('arguments', 'parts'),
    [
        (['voc12.py'], ['VOCtrainval_11-May-2012.tar', 'download']),
        (['cityscapes.py'], ['leftImg8bit_trainvaltest.zip']),
        (['import_splits.py', 'voc', '--family', 'u2pl', 'x.txt'], ["'x.txt'"]),
    ],
)
def test_a_mistake_ends_in_one_line(call, tmp_path, arguments, parts):
    with pytest.raises(SystemExit) as error:
        call(*arguments, '--data-root', tmp_path)
    message = str(error.value)
    assert message.startswith('error: ')
    assert len(message.splitlines()) == 1
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    ('dataset', 'split'),
    [
        ('voc', 'blender-u2pl-1_16-662'),
        ('voc', 'blender-cps-1_16-662'),
        ('cityscapes', 'cps-1_2-1488'),
    ],
)
def test_a_config_loads_the_imported_lists(downloads, tmp_path, monkeypatch, dataset, split):
    """From the downloads to the samples of a shipped config."""
    if dataset == 'voc':
        root, stems = tmp_path / 'data', data.TRAIN_AUG
        voc.prepare_voc(root, **downloads)
    else:
        root, stems = data.cityscapes(tmp_path), data.city_stems('train')
        cityscapes.prepare_cityscapes(root)
    theirs = tmp_path / 'labeled.txt'
    suffix = '.jpg' if dataset == 'voc' else '.png'
    theirs.write_bytes(data.text(stem + suffix for stem in stems[1:3]))
    name = import_splits(SCHEMES[dataset], split.split('-')[-3], [theirs], root)[0].name
    for part in ('labeled', 'unlabeled'):  # the number of images alone is another
        (root / f'splits/{name}_{part}.txt').rename(root / f'splits/{split}_{part}.txt')

    monkeypatch.setenv(f'{dataset.upper()}_ROOT', str(root))
    path = next(ROOT.glob(f'configs/u2pl/u2pl_r101-*-{split}-*.py'))
    parts = Config.fromfile(path).train_dataloader.dataset
    for part, expected in (('labeled', stems[1:3]), ('unlabeled', [stems[0], *stems[3:]])):
        built = DATASETS.build(parts[part])
        paths = [built.get_data_info(i)['img_path'] for i in range(len(built))]
        assert [
            re.sub(r'^.*/(JPEGImages|train)/|_leftImg8bit|\..+$', '', p) for p in paths
        ] == expected
        assert (
            'gt_sem_seg' in built[0]['data_samples']
        )  # of unlabeled images: which pixels are pads


@pytest.mark.skipif(os.name == 'nt', reason='a shell script')
def test_own_splits_as_the_readme_says(downloads, tmp_path):
    """The README's commands draw from train_aug alone, and its config loads the lists."""
    root = tmp_path / 'data/VOCdevkit/VOC2012'
    voc.prepare_voc(root, **downloads)
    readme = (ROOT / 'configs/u2pl/README.md').read_text()
    script = next(s for s in re.findall(r'```bash\n(.*?)```', readme, re.S) if 'make_splits' in s)
    script = script.replace('python ', f'{sys.executable} ').replace('tools/', f'{ROOT}/tools/')
    subprocess.run(['bash', '-e', '-c', script], cwd=tmp_path, check=True, capture_output=True)
    lists = [
        (root / f'splits/own/1_16_{p}.txt').read_text().split() for p in ('labeled', 'unlabeled')
    ]
    assert [len(stems) for stems in lists] == [1, 5]
    assert sorted(lists[0] + lists[1]) == data.TRAIN_AUG

    config = next(c for c in re.findall(r'```python\n(.*?)```', readme, re.S) if 'splits/own' in c)
    path = tmp_path / 'own.py'
    path.write_text(config.replace("'./", f"'{ROOT}/configs/u2pl/"))
    dataset = Config.fromfile(path).train_dataloader.dataset
    assert dataset.labeled.data_prefix.seg_map_path == 'SegmentationClassAug'
    for part in ('labeled', 'unlabeled'):
        assert (root / dataset[part].ann_file).is_file()
