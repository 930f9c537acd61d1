"""How a tool ends."""

import argparse
import os
import signal
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmseg_u2pl.cli import Options, check_split, command_line
from mmseg_u2pl.datasets.files import image_size


class Dies(Dataset):
    """A data set whose second image ends the process that loads it."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


@pytest.mark.filterwarnings('ignore')
def test_a_dead_worker_is_no_mistake_of_the_user():
    @command_line
    def main():
        list(DataLoader(Dies(), batch_size=1, num_workers=1, prefetch_factor=1))

    with pytest.raises(RuntimeError, match='DataLoader worker'):
        main()


def test_a_variable_named_split_is_the_users():
    labeled = dict(dataset=dict(labeled=dict(ann_file='nowhere.txt', data_root='.')))
    for cfg in (
        dict(split=0, train_dataloader=dict(dataset=dict(type='RepeatDataset'))),
        dict(split=0, train_dataloader=labeled),
        dict(train_dataloader=labeled),
        dict(split='1_8', train_dataloader=dict(dataset=dict(labeled=dict(ann_file=__file__)))),
    ):
        check_split(Config(cfg))
    with pytest.raises(SystemExit, match=r"split '1_3': nowhere\.txt does not exist"):
        check_split(Config(dict(split='1_3', train_dataloader=labeled)))


def test_lines_to_paste_stay_lines(capsys):
    @command_line
    def main():
        raise ValueError('write these  lines:\nNAME=#804080  # 87 %\n')

    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == 'error: write these  lines:\nNAME=#804080  # 87 %\n'


def test_images_of_any_size_are_read(monkeypatch, tmp_path):
    Image.new('L', (9, 8)).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1)  # PIL refuses twice as many
    with pytest.raises(ValueError, match='decompression bomb'):
        image_size(tmp_path / 'a.png')

    @command_line
    def main():
        assert image_size(tmp_path / 'a.png') == (9, 8)

    main()


@pytest.mark.parametrize(
    ('word', 'value'),
    [
        ('a=/my data/x', '/my data/x'),
        ('a=[1, 2]', [1, 2]),
        ('a=1,2', [1, 2]),
        ('a=/my data/x,y', None),
        ('a=x,y z', None),
    ],
)
def test_a_text_with_spaces_keeps_them_or_is_refused(word, value, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=Options)
    if value is None:
        with pytest.raises(SystemExit):
            parser.parse_args(['--cfg-options', word])
        assert f'{word}: with commas it is a list' in capsys.readouterr().err
    else:
        assert parser.parse_args(['--cfg-options', word]).cfg_options == {'a': value}


def test_ctrl_c_ends_a_tool_without_a_traceback(capsys):
    @command_line
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130  # as shells report it
    assert capsys.readouterr().err == 'stopped\n'


def test_an_error_of_the_system_is_one_line(refuses):
    @command_line
    def main():
        Path('/nowhere/at all.txt').read_text()

    with refuses(r"^error: \[Errno 2\] No such file or directory: '/nowhere/at all\.txt'$"):
        main()


def test_options_with_spaces_stay_text():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=Options)
    words = ['a=/data/my runs/x.pth', "b='two words'", 'c=[1, 2]', 'd=3', 'e=(1, 2)', 'f=4, 5']
    assert parser.parse_args(['--cfg-options', *words]).cfg_options == dict(
        a='/data/my runs/x.pth', b='two words', c=[1, 2], d=3, e=(1, 2), f=[4, 5]
    )
