"""``tools/benchmark.py`` on tiny data, in this process."""

from functools import partial

import pytest
import runs


@pytest.fixture
def call(run_tool):
    """Call the command line with these words."""
    return partial(run_tool, 'benchmark.py')


@pytest.fixture
def config(data_root, tmp_path):
    path = tmp_path / 'semi.py'
    runs.config(data_root, tmp_path / 'work').dump(path)
    return path


def test_step(call, config, capsys):
    call(config, '--warmup', 1, '--repeats', 1)
    output = capsys.readouterr().out
    for part in ('teacher', 'EMA', 'overhead', 'peak memory'):
        assert part in output


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        (('{}', '--cfg-options', 'train_dataloader=None'), 'no train_dataloader'),
        (('nowhere.py',), 'nowhere.py'),
        (('{}', '--quick'), "--quick takes the demo's config, not"),
    ],
)
def test_a_mistake_is_one_line(call, config, words, says, refuses):
    with refuses(says):
        call(*(str(word).format(config) for word in words))


@pytest.mark.parametrize('words', [('x.py', '--warmup', 0), ('x.py', '--repeats', -2)])
def test_numbers_are_above_zero(call, words, capsys):
    with pytest.raises(SystemExit):
        call(*words)
    assert f"'{words[-1]}' is no whole number of 1 or more" in capsys.readouterr().err
