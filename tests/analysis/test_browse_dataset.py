"""``tools/browse_dataset.py`` on tiny data, in this process."""

import re
from functools import partial
from pathlib import Path

import mmcv
import pytest
import runs
import tiny
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS


@pytest.fixture
def browse(run_tool):
    """Call the command line with these words."""
    return partial(run_tool, 'browse_dataset.py')


@pytest.fixture
def config(data_root, tmp_path):
    """A U²PL config file with the photometric view."""
    path = tmp_path / 'semi.py'
    runs.config(data_root, tmp_path / 'work', **{'model.view': dict(type='PhotometricView')}).dump(
        path
    )
    return path


def test_a_semi_supervised_config_draws_the_same_sheets_again(browse, config, tmp_path, capsys):
    for out in ('one', 'two'):
        browse(config, '--out', tmp_path / out)
    names = ['batch_1.png', 'batch_2.png']
    assert sorted(path.name for path in (tmp_path / 'one').iterdir()) == names
    pictures = [mmcv.imread(tmp_path / out / name) for name in names for out in ('one', 'two')]
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[2] == pictures[3]).all()
    assert pictures[0].shape != pictures[2].shape or (pictures[0] != pictures[2]).any()
    output = capsys.readouterr().out
    assert str(tmp_path / 'one' / 'batch_2.png') in output
    assert 'labeled, mask: 2 images of 32×32 px' in output
    assert 'unlabeled: 2 images of 32×32 px' in output


def test_a_supervised_config_shows_the_labeled_stream(
    browse, data_root, tmp_path, capsys, monkeypatch
):
    cfg = runs.config(data_root, tmp_path / 'work')
    preprocessor = cfg.model.data_preprocessor
    cfg.model = dict(
        type='EncoderDecoder', data_preprocessor=preprocessor, pretrained=None, **tiny.networks()
    )
    cfg.train_dataloader = dict(
        batch_size=2,
        num_workers=1,
        persistent_workers=True,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=tiny.labeled_config(data_root),
    )
    path = tmp_path / 'supervised.py'
    cfg.dump(path)
    monkeypatch.chdir(tmp_path)
    browse(path, '--batches', 1)
    assert Path('work_dirs/supervised/browse/batch_1.png').is_file()
    output = capsys.readouterr().out
    assert 'labeled, mask: 2 images' in output
    assert 'unlabeled' not in output


def test_a_checkpoint_adds_its_pseudo_labels(browse, config, tmp_path, capsys):
    model = MODELS.build(Config.fromfile(config).model)
    model.before_iter(4, 6)
    path = tmp_path / 'iter_4.pth'
    save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(iter=4)), str(path))
    browse(config, '--out', tmp_path / 'out', '--checkpoint', path)
    output = capsys.readouterr().out
    assert re.search('pseudo-labels, teacher: [0-9]+% kept: 2 images of 32×32 px', output)
    assert (tmp_path / 'out' / 'batch_1.png').is_file()


@pytest.mark.parametrize(
    ('option', 'says'),
    [
        ('train_dataloader.dataset.labeled.data_root=nowhere', "no folder 'nowhere'"),
        ('train_dataloader.sampler.ratio=(0,1)', 'sampler.ratio'),
        ('train_dataloader=None', 'no train_dataloader'),
        ('model.mix.prob=2', 'prob must be in [0, 1], got 2'),
    ],
)
def test_a_mistake_is_one_line(browse, config, option, says, refuses):
    with refuses(re.escape(says)):
        browse(config, '--cfg-options', option)


def test_at_least_one_batch(browse, config, capsys):
    with pytest.raises(SystemExit) as error:
        browse(config, '--batches', 0)
    assert error.value.code == 2
    assert "--batches: '0' is no whole number of 1 or more" in capsys.readouterr().err
