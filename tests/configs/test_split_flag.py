"""``--split``, ``--data`` and ``--iters`` of the command lines, and what they say to a wrong value."""

import argparse
import os

import pytest
from leaves import ROOT, chosen

from mmseg_u2pl.cli import add_common_arguments, check_split, load_config

SMALL = ROOT / 'u2pl/u2pl_effnet-lite0_small.py'


@pytest.fixture(autouse=True)
def environment():
    """``--split`` sets ``SPLIT``; it is put back."""
    with chosen(None):
        yield


def arguments(config, *words):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_common_arguments(parser)
    return parser.parse_args([str(config), *words])


def test_split_sets_lists_and_work_dir():
    cfg = load_config(arguments(SMALL, '--split', '1_8'))
    assert cfg.train_dataloader.dataset.labeled.ann_file == 'splits/1_8_labeled.txt'
    assert cfg.num_unlabeled == 321
    assert cfg.work_dir == f'work_dirs/{SMALL.stem}_1_8'
    assert os.environ['SPLIT'] == '1_8'  # also in processes that this one starts


def test_a_split_of_a_folder_gets_one_work_dir():
    cfg = load_config(arguments(SMALL, '--split', 'mine/1_8'))
    assert cfg.work_dir == f'work_dirs/{SMALL.stem}_mine-1_8'


def test_without_a_split_the_default_of_the_config():
    cfg = load_config(arguments(SMALL))
    assert cfg.split == '1_16'
    assert cfg.work_dir == f'work_dirs/{SMALL.stem}'


def test_work_dir_and_options_stay_the_users():
    words = ('--split', '1_8', '--work-dir', 'here', '--cfg-options', 'train_cfg.max_iters=7')
    cfg = load_config(arguments(SMALL, *words))
    assert (cfg.work_dir, cfg.train_cfg.max_iters) == ('here', 7)


def test_a_config_without_splits_refuses_the_flag(tmp_path):
    with pytest.raises(SystemExit, match=r'--split 1_8: .*small.* no split to choose'):
        load_config(arguments(SMALL, '--data', 'synthetic', '--split', '1_8'))
    fixed = tmp_path / 'dumped.py'
    fixed.write_text("split = '1_16'\n")
    with pytest.raises(SystemExit, match=r"--split 1_8: .*dumped.py has the fixed split '1_16'"):
        load_config(arguments(fixed, '--split', '1_8'))


def test_data_sets_data_and_work_dir():
    cfg = load_config(arguments(SMALL, '--data', 'facade', '--split', '1_8'))
    assert cfg.train_dataloader.dataset.labeled.type == 'LabelMeFacadeDataset'
    assert cfg.num_unlabeled == 481
    assert cfg.work_dir == f'work_dirs/{SMALL.stem}_facade_1_8'
    assert os.environ['SMALL_DATA'] == 'facade'


def test_data_that_does_not_exist_or_does_not_reach_the_config():
    with pytest.raises(SystemExit, match=r'--data nowhere: there is no such data set .*nowhere.py'):
        load_config(arguments(SMALL, '--data', 'nowhere'))
    other = ROOT / 'u2pl/u2pl_r18-d8_voc12-513x513.py'
    with pytest.raises(SystemExit, match=r'--data camvid: .* has no data to choose'):
        load_config(arguments(other, '--data', 'camvid'))


@pytest.mark.parametrize(
    ('path', 'setting', 'warm_up'),
    [
        (SMALL, 'warmup_iters', 150),
        (ROOT / 'mean_teacher/mean-teacher_effnet-lite0_small.py', 'rampup_iters', 150),
        (ROOT / 'u2pl/u2pl_r18-d8_voc12-513x513.py', 'warmup_iters', 150),  # an epoch has 570
    ],
)
def test_what_follows_from_the_length_follows(path, setting, warm_up):
    cfg = load_config(arguments(path, '--iters', '601'))
    assert cfg.work_dir == f'work_dirs/{path.stem}_601-iters'
    assert dict(cfg.train_cfg, type='') == dict(type='', max_iters=601, val_interval=61)
    assert cfg.default_hooks.checkpoint.interval == 61
    assert cfg.model[setting] == warm_up


def test_every_config_takes_a_length():
    for path in sorted(ROOT.glob('[!_]*/*.py')):
        cfg = load_config(arguments(path, '--iters', '7'))
        assert dict(cfg.train_cfg, type='') == dict(type='', max_iters=7, val_interval=1)
        assert cfg.model.get('warmup_iters', 0) < 7
        assert all(schedule.get('end', 7) in (2, 7) for schedule in cfg.param_scheduler)


@pytest.mark.parametrize('iters', ['0', '-1'])
def test_a_length_of_nothing(iters, capsys):
    with pytest.raises(SystemExit):
        arguments(SMALL, '--iters', iters)
    assert f"--iters: '{iters}' is no whole number of 1 or more" in capsys.readouterr().err


def test_a_fixed_length_is_refused(tmp_path):
    fixed = tmp_path / 'fixed.py'
    fixed.write_text('train_cfg = dict(max_iters=5)\n')
    with pytest.raises(SystemExit, match=r'--iters 7: .*no max_iters.*train_cfg\.max_iters'):
        load_config(arguments(fixed, '--iters', '7'))


def test_a_missing_config_ends_in_one_line():
    with pytest.raises(SystemExit, match=r'nowhere\.py does not exist'):
        load_config(arguments('nowhere.py'))


@pytest.mark.parametrize('name', ['1_7', 'mine/1_7'])
def test_an_unknown_split_names_those_that_exist(tmp_path, monkeypatch, name):
    for each in ('1_8', '1_16', 'mine/1_4'):
        path = tmp_path / f'splits/{each}_labeled.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path))
    with pytest.raises(SystemExit) as error:
        check_split(load_config(arguments(SMALL, '--split', name)))
    assert f'{tmp_path}/splits/{name}_labeled.txt does not exist' in str(error.value)
    assert f'splits of {tmp_path}/splits: 1_16, 1_8, mine/1_4 ' in str(error.value)
    check_split(load_config(arguments(SMALL, '--split', '1_8')))
    check_split(load_config(arguments(SMALL, '--split', 'mine/1_4')))


def test_no_list_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path))
    with pytest.raises(SystemExit, match='none'):
        check_split(load_config(arguments(SMALL)))
    check_split(load_config(arguments(SMALL, '--split', 'all')))
    check_split(load_config(arguments(SMALL, '--data', 'synthetic')))
