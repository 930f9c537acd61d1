"""How a tool ends."""

import os
import signal
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from mmseg_u2pl.cli import command_line


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


def test_an_error_of_the_system_is_one_line(refuses):
    @command_line
    def main():
        Path('/nowhere/at all.txt').read_text()

    with refuses(r"^error: \[Errno 2\] No such file or directory: '/nowhere/at all\.txt'$"):
        main()
