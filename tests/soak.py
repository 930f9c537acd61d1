"""Faults in real trainings: ``python tests/soak.py`` kills, fills disks and poisons batches.

Each fault hits a child process that runs ``tools/train.py``. Then the run is resumed, and its last
checkpoint is compared with that of an undisturbed run, bit for bit. A line a case, exit code 1 if one
differs. Moments follow from ``--seed``.
"""

import argparse
import math
import os
import random
import resource
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import conftest
import cross
import processes
import runs
import tiny
import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from mmseg_u2pl.engine.checkpoints import AtomicBackend

ITERS, INTERVAL, VAL = 12, 3, 6
METHODS = ('U2PL', 'FixMatch', 'MeanTeacher', 'UniMatch', 'UniMatchV2', 'CrossPseudo', 'RRN')
TRAIN = Path(__file__).parents[1] / 'tools' / 'train.py'
PATIENCE = 400  # seconds, after which a child that does not end is an error
WRITES = ('first byte', 'half a file', 'before the rename', 'after the rename')


@HOOKS.register_module(force=True)
class Fault(Hook):
    """Calls functions before iterations; what is wrong in a child is decided by its parent."""

    priority = 'LOWEST'
    at: dict[int, Callable] = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter in self.at:
            self.at[runner.iter](runner, data_batch)


def config(kind, root, folder, workers=0, **changes):
    """The file of a tiny config of a method."""
    preprocessor = runs.settings(root, ITERS)['model']['data_preprocessor']
    if kind in ('CrossPseudo', 'RRN'):
        model = cross.config(kind, data_preprocessor=preprocessor, warmup_iters=1)
        changes = {
            'train_dataloader.batch_size': 3,
            'train_dataloader.sampler.ratio': (1, 2),
            'default_hooks.checkpoint.save_best': 'mean/mIoU',
            'optim_wrapper.constructor': 'SemiOptimWrapperConstructor',
            **changes,
        }
    else:
        model = tiny.semi_config(kind, data_preprocessor=preprocessor, warmup_iters=1)
    settings = {
        'model': dict(_delete_=True, **model),
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': workers,
        'default_hooks.checkpoint.interval': INTERVAL,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        'default_hooks.checkpoint.save_best': 'student/mIoU',
        'default_hooks.fault': dict(type='Fault'),
        'train_cfg.val_interval': VAL,
        **changes,
    }
    cfg = runs.config(root, folder, ITERS, **settings)
    path = folder / 'config.py'
    cfg.dump(path)
    return path


class Child:
    """A fork of this process that runs ``tools/train.py``."""

    def __init__(self, path, folder, *words, before=lambda: None, env=None):
        self.log, self.began = path.with_name(f'{folder.name}.log'), time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            code: int | str = 1
            try:
                out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(out, 1)
                os.dup2(out, 2)
                sys.stdout = sys.stderr = os.fdopen(1, 'w', 1, closefd=False)  # pytest has others
                os.environ.update(env or {})
                before()
                sys.argv = [str(TRAIN), str(path), '--work-dir', str(folder), *words]
                runpy.run_path(str(TRAIN), run_name='__main__')
                code = 0
            except SystemExit as stop:
                code = stop.code or 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(int(code))

    def wait(self, kill_after=None):
        """The exit code, negative for a signal; SIGKILL after some seconds."""
        end = self.began + (PATIENCE if kill_after is None else kill_after)
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                _, status = os.waitpid(self.pid, 0)
                if kill_after is None:
                    raise TimeoutError(f'a child ran for {PATIENCE} s: {self.log}')
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def dying_in_a_write(number, where):
    """What a child calls first: SIGKILL in its n-th write of a checkpoint."""
    count = iter(range(10**6))

    def put(self, obj, filepath):
        if next(count) != number:
            return original(self, obj, filepath)
        path = Path(filepath)
        size = {'first byte': 1, 'half a file': len(obj) // 2}.get(where, len(obj))
        path.with_name(f'.{path.name}.part').write_bytes(obj[:size])
        if where == 'after the rename':
            original(self, obj, filepath)
        die()

    original = AtomicBackend.put

    def before():
        setattr(AtomicBackend, 'put', put)  # noqa: B010

    return before


def last(folder):
    """All that a training goes on from."""
    return torch.load(folder / f'iter_{ITERS}.pth', weights_only=True)


def same(one, other):
    """Bit for bit, in whatever lists and dicts."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one.view(-1), other.view(-1))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def require(child, expected=0):
    code = child.wait()
    assert code == expected, f'exit code {code}:\n{child.log.read_text()[-3000:]}'


def require_same(folder, whole):
    state = last(folder)
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert same(whole[part], state[part]), f'{part} of {folder} differs'


def undisturbed(path, folder):
    child = Child(path, folder)
    require(child)
    return last(folder), time.monotonic() - child.began


def kills(kind, root, folder, number, random, workers=0):
    """``number`` SIGKILLs, half of them in writes, the others at any time; then a whole run."""
    path = config(kind, root, folder, workers)
    whole, seconds = undisturbed(path, folder / 'whole')
    killed, inside = 0, 0
    while killed < number:  # runs that end are no kills: they begin again
        in_write = killed % 2 == 0
        before = dying_in_a_write(random.randrange(5), random.choice(WRITES))
        words = ['--resume'] if killed else []
        child = Child(path, folder / 'run', *words, before=before if in_write else lambda: None)
        code = child.wait(None if in_write else random.uniform(0, seconds))
        assert code in (0, -signal.SIGKILL), child.log.read_text()[-3000:]
        killed += code != 0
        inside += code != 0 and in_write
        if code == 0:
            require_same(folder / 'run', whole)
            shutil.rmtree(folder / 'run')
    require(Child(path, folder / 'run', '--resume'))
    require_same(folder / 'run', whole)
    return f'{killed} kills, {inside} of them in a write'


@contextmanager
def small_disk(folder, size):
    """A tmpfs, or, where none may be mounted, a limit on the size of files."""
    folder.mkdir()
    mounted = not subprocess.call(
        ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)],
        stderr=subprocess.DEVNULL,
    ) if shutil.which('mount') else False  # fmt: skip
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.check_call(['umount', str(folder)])


def full_disk(kind, root, folder, number, random):
    """No space at one checkpoint; the previous one stays, and training goes on."""
    path = config(kind, root, folder, **{'default_hooks.checkpoint.save_best': None})
    whole, _ = undisturbed(path, folder / 'whole')
    size = next((folder / 'whole').glob('*.pth')).stat().st_size
    with small_disk(folder / 'disk', int(5.5 * size)) as mounted:
        work = folder / 'disk' / 'run'
        filler = folder / 'disk' / 'filler'
        kept: list[str] = []

        def fill(*_):
            kept[:] = [path.name for path in work.glob('*.pth')]
            if mounted:
                with suppress(OSError), filler.open('wb') as file:
                    while True:
                        file.write(bytes(4096))
                        file.flush()
            else:  # half a file fits
                resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))

        def free(*_):
            left = sorted(path.name for path in work.iterdir() if 'pth' in path.name)
            assert left == kept == ['iter_3.pth'], left
            filler.unlink(missing_ok=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

        child = Child(path, work, before=lambda: Fault.at.update({5: fill, 6: free}))
        require(child)
        require_same(work, whole)
        log = child.log.read_text()
        assert 'no checkpoint at iteration 6' in log, log[-2000:]
    return 'a full tmpfs' if mounted else 'a limit on the size of files'


def poison(kind, root, folder, number, random):
    """NaN in one pixel of some batches: those steps are left out. In all batches: exit code 2."""
    path = config(kind, root, folder)

    def spoil(runner, batch):
        for index, image in enumerate(batch['inputs']):
            batch['inputs'][index] = image.float()
            batch['inputs'][index][0, 0, 0] = math.nan

    steps = random.sample(range(ITERS), number)
    child = Child(
        path, folder / 'some', before=lambda: Fault.at.update(dict.fromkeys(steps, spoil))
    )
    require(child)
    state = last(folder / 'some')['state_dict']
    assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())
    skipped = child.log.read_text().count('the step is skipped')
    assert skipped == number, f'{skipped} of {number} steps were left out'
    always = dict.fromkeys(range(3, 1000), spoil)
    words = ('--cfg-options', 'train_cfg.max_iters=100')
    child = Child(path, folder / 'all', *words, before=lambda: Fault.at.update(always))
    code = child.wait()
    assert code == 1, code  # 2 would be a mistake of the user
    assert 'steps in a row were not finite' in child.log.read_text()
    (kept,) = (folder / 'all').glob('iter_*.pth')
    state = torch.load(kept, weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())
    return f'{number} steps left out; NaN in all: stopped, exit code {code}, checkpoint finite'


def killed_worker(kind, root, folder, number, random):
    """A data loading worker dies: training ends with an error, and resumes."""
    path = config(kind, root, folder, workers=2)
    whole, _ = undisturbed(path, folder / 'whole')

    def kill(*_):
        children = Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split()
        os.kill(int(random.choice(children)), signal.SIGKILL)

    step = random.randrange(4, ITERS - 2)
    child = Child(path, folder / 'run', before=lambda: Fault.at.update({step: kill}))
    code = child.wait()
    assert code == 1, code  # 2 would be a mistake of the user
    require(Child(path, folder / 'run', '--resume'))
    require_same(folder / 'run', whole)
    return f'ended with exit code {code}, resumed'


def together(path, folder, *words, fault=None):
    """Two processes; the exit codes, and how long the first outlived the second."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in '01':
        env = dict(
            RANK=rank, LOCAL_RANK=rank, WORLD_SIZE='2', MASTER_ADDR='localhost', MASTER_PORT=port
        )
        before = (lambda: Fault.at.update(fault)) if fault and rank == '1' else lambda: None
        words_ = ('--launcher', 'pytorch', *words)
        children.append(Child(path, folder, *words_, before=before, env=env))
    second = children[1].wait()
    ended = time.monotonic()
    return (children[0].wait(), second), time.monotonic() - ended


def killed_rank(kind, root, folder, number, random):
    """A process of two dies: the other ends with an error, and both resume."""
    path = config(kind, root, folder)
    assert together(path, folder / 'whole')[0] == (0, 0)
    step = random.randrange(4, ITERS - 2)
    (first, second), seconds = together(path, folder / 'run', fault={step: die})
    assert first not in (0, -signal.SIGKILL), first
    assert second == -signal.SIGKILL
    assert seconds < 30
    assert together(path, folder / 'run', '--resume')[0] == (0, 0)
    require_same(folder / 'run', last(folder / 'whole'))
    return f'the other rank ended after {seconds:.1f} s with exit code {first}, both resumed'


CASES = {
    'SIGKILL': kills,
    'SIGKILL, with workers': lambda *args: kills(*args, workers=2),
    'full disk': full_disk,
    'NaN': poison,
    'killed worker': killed_worker,
    'killed rank': killed_rank,
}


def data(folder):
    """The tests' data set."""
    folder.mkdir()
    factory = type('Factory', (), {'mktemp': lambda self, name: folder})()
    return conftest.data_root._get_wrapped_function()(factory)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--kills', type=int, default=20, help='a method')
    parser.add_argument('--methods', nargs='+', default=METHODS, choices=METHODS)
    parser.add_argument('--cases', nargs='+', default=list(CASES), choices=list(CASES))
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = data(Path(folder) / 'data')
        for name in args.cases:
            for kind in args.methods:
                work = Path(folder) / f'{kind} {name}'
                number = args.kills if 'SIGKILL' in name else 3
                began = time.monotonic()
                try:
                    figure = CASES[name](
                        kind, root, work, number, random.Random(f'{args.seed} {kind} {name}')
                    )
                except Exception as error:
                    failed, figure = failed + 1, f'FAILED: {error!r}'
                print(f'{name} | {kind} | {figure} | {time.monotonic() - began:.0f} s', flush=True)
                shutil.rmtree(work, ignore_errors=True)
    print(f'{failed} failed')
    raise SystemExit(int(failed > 0))


if __name__ == '__main__':
    processes.start()
    main()
