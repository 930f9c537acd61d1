"""Train and test one run of a list, however often it was interrupted.

Each run has a folder, whose lock its processes hold, and in the end one line in the results file.
"""

import fcntl
import importlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..engine.checkpoints import AtomicBackend
from ..version import __version__
from .experiments import Experiment, append_result, digest, is_done, read_results
from .run_folder import RunFolder

DIE_WITH_PARENT = (  # prctl(PR_SET_PDEATHSIG, SIGKILL): a killed runner leaves no process behind
    'import os, sys\n'
    'if sys.platform == "linux":\n'
    '    import ctypes; ctypes.CDLL(None).prctl(1, 9)\n'
    'os.execv(sys.executable, [sys.executable, *sys.argv[1:]])'
)
ATTEMPTS = 3
"""Starts of a step whose process is killed by a signal, before its run counts as failed."""
LOG_LINES = 15
"""Of the end of the log of a run that failed."""

Step = Callable[[Experiment, RunFolder], list[str] | None]
"""The command line of a part of a run; None if that part is done."""


@contextmanager
def locked(folder: Path) -> Iterator[int | None]:
    """The lock of a folder, held by processes that inherit it, too; None if it is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


def versions(root: Path) -> dict[str, str]:
    """Of the packages that results depend on, and the commit, with ``+`` if code was changed."""

    def git(*words: str) -> str:
        command = ['git', *words]
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        except OSError:  # not installed
            return ''
        return done.stdout.strip()

    packages = ('torch', 'mmcv', 'mmengine', 'mmseg')
    found = {name: importlib.import_module(name).__version__ for name in packages}
    ours = git('rev-parse', '--show-toplevel') == str(root.resolve())  # not one around a package
    dirty = git('status', '--porcelain', '--', 'configs', 'mmseg_u2pl', 'tools')
    commit = git('rev-parse', '--short=10', 'HEAD') + ('+' if dirty else '')
    return {**found, 'mmseg_u2pl': __version__, 'commit': commit if ours else 'unknown'}


def hardware() -> str:
    """Name of the GPU, or of the CPU."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        name = next(line.split(': ')[1] for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f'{name}, one core'


class Worker:
    """Trains and tests runs, one at a time in each thread that calls it.

    Args:
        root: Of the repository.
        work_dir: Where the folders of the runs are.
        results: The results file.
        data_dir: Where relative data roots of the configs start; default: ``root``.
    """

    def __init__(
        self, root: Path, work_dir: Path, results: Path, data_dir: Path | None = None
    ) -> None:
        self.root, self.work_dir, self.results = root, work_dir.resolve(), results
        self.data_dir = data_dir or root
        self.stopped = False
        self.processes: set[subprocess.Popen] = set()
        self.active: set[str] = set()  # folders of runs
        self.digests: dict[str, str] = {}  # of their configs that were loaded

    def run(self, experiment: Experiment, slot: Mapping[str, str]) -> dict[str, Any] | None:
        """Do what is left of a run and append its record; None while another process does it.

        Args:
            experiment: The run.
            slot: Environment variables of the core or GPU that it gets.

        Returns:
            What :meth:`RunFolder.results` says, or ``error``; ``added`` tells whether the record
            is new.
        """
        folder = self.work_dir / experiment.folder
        with locked(folder) as lock:
            if lock is None:
                return None
            if is_done(experiment.settings, read_results(self.results)):
                return dict(experiment.settings, added=False)
            record: dict[str, Any] = dict(name=experiment.name, **experiment.settings)
            self.active.add(experiment.folder)
            try:
                record |= self._facts(experiment, folder)
                for step in (_train, partial(_test, 'test'), partial(_test, 'test_best')):
                    self._finish(step, experiment, folder, slot, lock)
                record |= RunFolder(folder).results()
            except Exception as error:  # whatever it is, the other runs go on
                record['error'] = str(error) or type(error).__name__
            finally:
                self.active.discard(experiment.folder)
            if not self.stopped:
                record['added'] = append_result(self.results, record)
            return record

    def load(self, experiment: Experiment) -> Config:
        """The config of a run, by whose digest :meth:`check` knows it; not in a thread."""
        config = experiment.load(self.root)
        self.digests[experiment.folder] = digest(config)
        return config

    def check(self, experiment: Experiment, place: Path) -> None:
        """Raise ValueError, with a place to move away, if a run's folder is of another config.

        Folders without a checkpoint pass, and those of older versions, which do not tell.
        """
        folder = self.work_dir / experiment.folder
        path = folder / 'run.json'
        before = json.loads(path.read_text()).get('digest') if path.exists() else None
        changed = before and self.digests.get(experiment.folder, before) != before
        if changed and any(folder.glob('iter_*.pth')):
            raise ValueError(
                f'{experiment.config} or --cfg-options were changed since {experiment.folder} was '
                f'trained: move {place} away, or use another --work-dir'
            )

    def stop(self) -> None:
        """Kill what runs; :meth:`run` returns soon."""
        self.stopped = True
        for process in list(self.processes):
            process.kill()

    def _facts(self, experiment: Experiment, folder: Path) -> dict[str, Any]:
        """Hardware and versions of the run's first start, which its folder keeps.

        Raises:
            ValueError: The folder is that of a run with other settings or another config.
        """
        path = folder / 'run.json'
        facts = dict(experiment.settings, hardware=hardware(), versions=versions(self.root))
        facts['digest'] = self.digests.get(experiment.folder)
        if path.exists():
            before = json.loads(path.read_text())
            changed = [key for key in experiment.settings if before[key] != facts[key]]
            if changed:
                raise ValueError(
                    f'{folder} has a run with another {" and ".join(changed)}: give this one another '
                    'name, or move the folder away'
                )
            self.check(experiment, folder)
            if facts['versions'] != before['versions'] and not RunFolder(folder).is_trained():
                commits = (before['versions']['commit'], facts['versions']['commit'])
                facts['versions']['commit'] = ' to '.join(dict.fromkeys(commits))
            else:
                facts = dict(before, digest=facts['digest'] or before.get('digest'))
        AtomicBackend().put(json.dumps(facts).encode(), path)
        return {key: facts[key] for key in ('hardware', 'versions')}

    def _finish(
        self, step: Step, experiment: Experiment, folder: Path, slot: Mapping[str, str], lock: int
    ) -> None:
        """Start the process of a step until the step is done."""
        log = folder / 'log.txt'
        for _ in range(ATTEMPTS):
            words = step(experiment, RunFolder(folder))
            if words is None:
                return
            tool = words[0]
            words[:2] = [str(self.root.resolve() / word) for word in words[:2]]  # tool and config
            with log.open('a') as output:
                process = subprocess.Popen(
                    [sys.executable, '-c', DIE_WITH_PARENT, *words],
                    cwd=self.data_dir, env={**os.environ, **slot, **experiment.env},
                    stdout=output, stderr=subprocess.STDOUT, pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C reaches the runner alone
                )  # fmt: skip
                self.processes.add(process)
                if self.stopped:
                    process.kill()
                code = process.wait()
                self.processes.remove(process)
            if self.stopped or code >= 0:
                break
        if self.stopped or code or step(experiment, RunFolder(folder)) is not None:
            end = log.read_text(errors='replace').splitlines()[-LOG_LINES:]
            end = [re.sub(r'(?<![^\s"(])/\S+/', '', line) for line in end]  # names of files alone
            raise RuntimeError('\n'.join((f'{tool} ended with {code}', *end)))


def _train(experiment: Experiment, folder: RunFolder) -> list[str] | None:
    """The command line of the training, resumed where it stopped; None if it has finished."""
    if folder.is_trained():
        return None
    resume = ['--resume'] if folder.resume_point() else []
    words = ['tools/train.py', experiment.config, '--work-dir', str(folder.path), *resume]
    # two: the newest may lack its validation
    return [*words, *experiment.flags, 'default_hooks.checkpoint.max_keep_ckpts=2']


def _test(name: str, experiment: Experiment, folder: RunFolder) -> list[str] | None:
    """The command line of a test, ``'test'`` or ``'test_best'``; None if it has finished."""
    checkpoint = folder.checkpoint_of(name)
    if checkpoint is None or folder.tested(name):
        return None
    words = ['tools/test.py', experiment.config, str(checkpoint)]
    return [*words, '--work-dir', str(folder.path / name), *experiment.flags]
