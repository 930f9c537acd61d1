"""A disk that is full once, in the first of two processes: both train on."""

import errno
from pathlib import Path

import pytest
import runs

from mmseg_u2pl.cli import build_runner
from mmseg_u2pl.engine.checkpoints import AtomicBackend


def train(rank, cfg, name):
    put = AtomicBackend.put
    failed: list[Path] = []

    def full_once(self, obj, path):
        if rank == 0 and Path(path).name.startswith(name) and not failed:
            failed.append(path)
            raise OSError(errno.ENOSPC, 'No space left on device')
        put(self, obj, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AtomicBackend, 'put', full_once)
        runner = build_runner(cfg)
        runner.train()
    return runner.iter, len(failed)


@pytest.mark.parametrize('name', ['iter_3.pth', 'best_'])
def test_no_process_waits_for_the_one_that_cannot_write(name, data_root, tmp_path, together):
    cfg = runs.config(data_root, tmp_path, 6, launcher='pytorch')
    assert together(2, train, cfg, name) == [(6, 1), (6, 0)]
    assert 'no checkpoint at iteration 3' in runs.log_of(tmp_path)
    assert (tmp_path / 'iter_6.pth').exists()
    assert list(tmp_path.glob('best_*.pth')) != []
