"""Work that several processes do together through gloo, and tools that start fast."""

import os
import runpy
import sys
from datetime import timedelta
from multiprocessing import get_context

import cv2
import torch
import torch.distributed as dist
from mmengine.registry import init_default_scope
from yapf.yapflib import yapf_api

import mmseg_u2pl  # noqa: F401 - registers everything

MOST = 3
"""Processes that a test needs."""

PATIENCE = timedelta(minutes=5)
"""After which a process that waits for another fails."""


def start():
    """What every process of the tests needs, the first one, too."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    # as a config's default_scope does; mmengine builds data preprocessors from its registry
    init_default_scope('mmseg')
    # formatting the text of its config takes most of the time of a tiny run
    yapf_api.FormatCode = lambda text, **_: (text, True)


def _run_file(words, folder, environment, log):
    """Run a Python file in this process, like a command line; it writes to a log."""
    os.chdir(folder)
    os.environ.update(environment)
    with open(log, 'a') as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    start()
    sys.argv = words
    runpy.run_path(words[0], run_name='__main__')


class Forked:
    """In the place of ``subprocess.Popen``: ``python -c CODE FILE WORDS`` without ``CODE``.

    The process is the fork of one that has imported all; importing takes most of the time of a tiny
    run.
    """

    def __init__(self, command, cwd, env, stdout, **_):
        context = get_context('forkserver')
        context.set_forkserver_preload(['mmseg_u2pl', 'mmengine.runner'])
        arguments = (command[3:], cwd, env, stdout.name)
        self._process = context.Process(target=_run_file, args=arguments)
        self._process.start()

    def kill(self):
        """End it."""
        self._process.kill()

    def wait(self):
        """Its exit code, when it has ended."""
        self._process.join()
        return self._process.exitcode


def join(rank, world_size, rendezvous, work, arguments):
    """Do one process's part of ``work(rank, *arguments)``; its result."""
    dist.init_process_group(
        'gloo', init_method=rendezvous, rank=rank, world_size=world_size, timeout=PATIENCE
    )
    os.environ['LOCAL_RANK'] = str(rank)  # as launchers do; mmengine reads it
    torch.manual_seed(0)
    try:
        return work(rank, *arguments)
    finally:
        dist.destroy_process_group()


def of_all_ranks(tensor):
    """The tensors of all processes, by rank."""
    gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, tensor.contiguous())
    return gathered


def assert_same(state):
    """All processes have the same values."""
    for name, value in state.items():
        for other in of_all_ranks(value.detach()):
            assert torch.equal(other, value), name
