"""Do the same with many files, in threads, with a progress bar if it takes long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mmengine.dist import is_main_process
from rich.progress import Progress

_LARGEST_CHUNK = 256  # files that a thread takes at a time
_PATIENCE = 2.0  # seconds before the progress bar is shown

Item = TypeVar('Item')
Result = TypeVar('Result')


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> Iterator[Result]:
    """``map`` in threads: decoders and network disks release the interpreter lock.

    Args:
        function: Called once for each item. Its first exception ends the work.
        items: Any sequence; a ``range`` needs no memory.
        title: Of the progress bar, which the main process shows after two seconds.
    """
    size = min(_LARGEST_CHUNK, 1 + len(items) // 64)
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    pool = ThreadPoolExecutor()
    progress = Progress(transient=True, disable=not is_main_process())
    task = progress.add_task(title, total=len(items))
    start, shown = time.monotonic(), False
    try:
        for results in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
            if not shown and time.monotonic() - start > _PATIENCE:
                progress.start()
                shown = True
            progress.advance(task, len(results))
            yield from results
    finally:
        if shown:
            progress.stop()
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the other files
