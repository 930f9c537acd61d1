"""Three processes, started once for all tests of the folder."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

import processes
import pytest

MOST = 3


@pytest.fixture(scope='session')
def pool() -> Iterator[ProcessPoolExecutor]:
    context = get_context('spawn')
    with ProcessPoolExecutor(MOST, context, initializer=processes.start) as pool:
        wait([pool.submit(abs, 0) for _ in range(MOST)])  # all start now, side by side
        yield pool


@pytest.fixture
def together(pool: ProcessPoolExecutor, tmp_path: Path) -> Callable[..., list]:
    """Do ``work(rank, *arguments)`` in some processes at once; the results by rank."""
    runs = iter(range(1000))

    def run(world_size, work, *arguments):
        rendezvous = f'file://{tmp_path}/rendezvous{next(runs)}'
        parts = [
            pool.submit(processes.join, rank, world_size, rendezvous, work, arguments)
            for rank in range(world_size)
        ]
        for part in wait(parts, return_when=FIRST_EXCEPTION).done:
            part.result()  # what went wrong first, not who waited for it
        return [part.result() for part in parts]

    return run
