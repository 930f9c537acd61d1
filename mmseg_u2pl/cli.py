"""What command lines share: flags, config and launcher."""

import argparse
import functools
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NoReturn

import torch.distributed as dist
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import RUNNERS
from PIL import Image

from .compat import config_path
from .datasets.checks import check_dataset_config
from .engine.trust import set_trust

COMMAND = 'mmseg-u2pl'
"""What pip installs; ``mmseg-u2pl NAME`` is ``python tools/NAME.py``."""

CHOICES = (
    ('data', 'data', 'SMALL_DATA'),
    ('split', 'split', 'SPLIT'),
    ('iters', 'max_iters', 'MAX_ITERS'),
)
"""Flags that configs read while they are parsed: the setting in the config, and its variable."""

SMALL_DATA = ('camvid', 'facade', 'voc_animals', 'synthetic')
"""What ``--data`` names."""

AT_WORK = {'run_iter', '_try_get_data', 'handler'}
"""Functions of mmengine's loops, and of torch where it notices that a worker has died."""


def command_line(main: Callable[[], None]) -> Callable[[], None]:
    """A tool's ``main`` in which a mistake of the user ends in one line and exit code 2.

    What goes wrong in a training iteration, or ends a data loading worker, is no mistake in the
    command: its traceback is shown.
    """

    @functools.wraps(main)
    def run() -> None:
        Image.MAX_IMAGE_PIXELS = None  # large images are no attack here: the user chose them
        try:
            main()
        except SystemExit as stop:
            if isinstance(stop.code, str):
                _fail(stop.code)
            raise
        except KeyboardInterrupt:
            print('stopped', file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None
        except Exception as error:
            if AT_WORK & {frame.name for frame in traceback.extract_tb(error.__traceback__)}:
                raise
            _fail(_describe(error))

    return run


def tool(name: str) -> str:
    """How to start a tool: ``python tools/NAME.py``, or ``mmseg-u2pl NAME`` where that is in use."""
    if sys.argv[0].startswith(f'{COMMAND} '):
        return f'{COMMAND} {name.replace("_", "-")}'
    return f'python tools/{name}.py'


def cores() -> int:
    """CPU cores that this process may use, as ``taskset`` and slurm set them."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fail(message: str) -> NoReturn:
    print('error:', message.strip(), file=sys.stderr)
    raise SystemExit(2) from None


def _describe(error: Exception) -> str:
    """An error in words; where the words may not do, also its kind and a file with its traceback."""
    if isinstance(error, UnpicklingError):
        name = str(error) if Path(str(error)).is_file() else 'the checkpoint'
        return (
            f'{name} is damaged, or holds more than data, so that loading it could run any '
            'code on this machine. If you trust its author: --trust-checkpoint'
        )
    if isinstance(error, (OSError, ValueError, FloatingPointError)) and str(error):
        return str(error)
    with tempfile.NamedTemporaryFile(
        'w', prefix='mmseg_u2pl_', suffix='.log', delete=False
    ) as file:
        traceback.print_exception(error, file=file)
    words = ' '.join(str(error).split())  # of others, often of many lines
    return f'{type(error).__name__}: {words} (traceback: {file.name})'


class Options(DictAction):
    """``--cfg-options key=value ...``."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: Any = None
    ) -> None:
        """As in mmengine's ``DictAction``; a word without ``=`` is refused by name, and text with
        spaces, such as a path, keeps them.
        """
        for word in values:
            if '=' not in word:
                parser.error(f'--cfg-options {word}: expected key=value')
            value = re.sub(', +', ',', word.split('=', 1)[1])
            if ',' in value and ' ' in value and value[0] not in '[({':
                parser.error(
                    f'--cfg-options {word}: with commas it is a list, and loses its spaces; text with both goes '
                    'into the config'
                )
        texts = [word for word in values if ' ' in word and not re.search(r',|=[\[(]', word)]
        super().__call__(parser, namespace, [word for word in values if word not in texts], flag)
        pairs = (word.split('=', 1) for word in texts)
        getattr(namespace, self.dest).update((key, value.strip('\'"')) for key, value in pairs)


class One(argparse.Action):
    """One of the files that a pattern such as ``best_*.pth`` matched; several are refused by name."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: Any = None
    ) -> None:
        """Keep it."""
        if len(values) > 1:
            parser.error(
                f'{len(values)} files where one {self.dest} is expected: {", ".join(values)}'
            )
        setattr(namespace, self.dest, values[0])


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load a checkpoint that holds more than data. It can run any code on this machine: only '
        'for files that you made, or whose author you trust',
    )


def add_checkpoint_arguments(parser: argparse.ArgumentParser, checkpoint: str, **kind: Any) -> None:
    """Add what tools that work on a checkpoint share; ``checkpoint`` says which one, or which.

    ``kind`` has ``nargs`` and ``action`` of that argument.
    """
    parser.add_argument('checkpoint', help=checkpoint, **kind)
    parser.add_argument('-o', '--out', required=True, type=Path, help='folder of the results')
    parser.add_argument('--config', help='config file; default: the config in the checkpoint')
    add_trust_argument(parser)


def positive(text: str, least: int = 1) -> int:
    """A type of argument: an integer above zero."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number of {least} or more')
    return int(text)


def not_negative(text: str) -> int:
    """A type of argument: an integer, 0 or more."""
    return positive(text, least=0)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that change a config: ``--data``, ``--split``, ``--iters``, ``--cfg-options``."""
    parser.add_argument(
        '--data',
        metavar='NAME',
        help=f'data set of a config that ends in _small: {", ".join(SMALL_DATA)}',
    )
    parser.add_argument(
        '--split',
        metavar='NAME',
        help="lists of labeled and unlabeled images: splits/NAME_labeled.txt of the data set's root",
    )
    parser.add_argument(
        '--iters',
        type=positive,
        metavar='N',
        help='length of a config of configs/; what it computes from the length follows: warm-up, '
        'validations, checkpoints',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        help='override settings: key=value; lists as key="[a,b]", without spaces',
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of training and testing. They are those of mmseg's, and of a config."""
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    add_config_arguments(parser)
    add_trust_argument(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='none: one process on one GPU, or on the CPU if there is none',
    )
    # some launchers pass the rank as a flag; mmengine reads the environment
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_scoped_config(args: argparse.Namespace) -> Config:
    """The config of a command line, a path or ``PACKAGE::PATH``, with its registry scope as the default.

    Raises:
        SystemExit: The file does not exist, or ``--data``, ``--split`` or ``--iters`` does not reach
            the config.
    """
    args.config = str(config_path(args.config))
    if not Path(args.config).is_file():
        what = 'is a folder' if Path(args.config).is_dir() else 'does not exist'
        raise SystemExit(f'{args.config} {what}: expected a config file')
    set_trust(getattr(args, 'trust_checkpoint', False))
    chosen = {}
    for flag, name, variable in CHOICES:
        value = getattr(args, flag, None)
        if value:
            os.environ[variable] = str(value)  # read while the config is parsed
            chosen[flag] = name, variable, value
    try:
        cfg = Config.fromfile(args.config)
    except FileNotFoundError as error:
        if 'data' not in chosen:
            raise
        names = ', '.join(SMALL_DATA)
        raise SystemExit(
            f'--data {args.data}: there is no such data set (there are {names}; {error})'
        ) from None
    for flag, (name, variable, value) in chosen.items():
        if cfg.get(name) != value:
            raise SystemExit(
                f'--{flag} {value}: {args.config} has '
                + (f'the fixed {name} {cfg[name]!r}' if name in cfg else f'no {name} to choose')
                + f'; a config that takes one reads {{{{${variable}:default}}}}'
                + (', others --cfg-options train_cfg.max_iters=N' if flag == 'iters' else '')
            )
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return cfg


def load_config(args: argparse.Namespace) -> Config:
    """As :func:`load_scoped_config`, with the launcher and work dir of training and testing."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_scoped_config(args)
    cfg.launcher = args.launcher
    length = f'{args.iters}-iters' if args.iters else None
    chosen = (value.replace('/', '-') for value in (args.data, args.split, length) if value)
    stem = '_'.join((Path(args.config).stem, *chosen))
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{stem}'
    return cfg


def check_split(cfg: Config) -> None:
    """Raise SystemExit, with the splits that exist, if the config's split has no list.

    Raises:
        FileNotFoundError: The data are missing.
    """
    labeled = cfg.get('train_dataloader', {}).get('dataset', {}).get('labeled', {})
    # the name may be a variable of the user's; without a list all images of a folder are labeled
    if not isinstance(cfg.get('split'), str) or not labeled.get('ann_file'):
        return
    root = Path(labeled.get('data_root') or '')
    if not root.exists():  # no list is chosen before the data are there
        check_dataset_config(labeled, 'train_dataloader.dataset.labeled')
    path = root / labeled.ann_file
    if not path.is_file():
        folder, suffix = path.parents[cfg.split.count('/')], '_labeled.txt'
        found = folder.rglob(f'*{suffix}')
        names = sorted(each.relative_to(folder).as_posix().removesuffix(suffix) for each in found)
        raise SystemExit(
            f'split {cfg.split!r}: {path} does not exist; splits of {folder}: '
            f'{", ".join(names) or "none"} (choose one with --split NAME)'
        )


def build_runner(cfg: Config) -> Runner:
    """The runner; several processes without an accelerator talk through gloo."""
    if cfg.launcher != 'none' and get_device() == 'cpu':
        _distribute_on_cpu(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _distribute_on_cpu(cfg: Config) -> None:
    """Do what mmengine's launchers do, which would bind each process to a GPU."""
    if cfg.launcher != 'pytorch':
        raise SystemExit(
            f'--launcher {cfg.launcher} needs GPUs and this machine shows none: several '
            'processes on CPUs are started by tools/dist_train.sh or tools/dist_test.sh'
        )
    if not dist.is_initialized():
        dist.init_process_group('gloo')
    cfg.pop('sync_bn', None)  # SyncBatchNorm needs a GPU
    defaults = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**defaults, **(cfg.get('model_wrapper_cfg') or {})}
