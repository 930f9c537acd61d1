"""What command lines share: flags, config and launcher."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch.distributed as dist
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import RUNNERS


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every command has; they are those of mmseg's own tools."""
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings: key=value; lists as key="[a,b]", without spaces',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='none: one process on one GPU, or on the CPU if there is none',
    )
    # some launchers pass the rank as a flag; mmengine reads the environment
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """The config that the command line asks for, ready for a runner."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    return cfg


def add_hidden_mask_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the tools that compare checkpoints with hidden masks have in common."""
    parser.add_argument('config', help='training config file')
    parser.add_argument('checkpoints', nargs='+', metavar='checkpoint', help='of one run')
    parser.add_argument(
        '--masks',
        required=True,
        help="folder of the unlabeled images' masks, below their data_root; only read here",
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override settings: key=value'
    )


def load_scoped_config(args: argparse.Namespace) -> Config:
    """The config, for a tool without a runner: its registry scope becomes the default."""
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return cfg


def build_runner(cfg: Config) -> Runner:
    """The runner; several processes without an accelerator talk through gloo."""
    if cfg.launcher != 'none' and get_device() == 'cpu':
        _distribute_on_cpu(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _distribute_on_cpu(cfg: Config) -> None:
    """Do what mmengine's launchers do, who would bind each process to a GPU.

    Raises:
        SystemExit: A launcher other than torchrun.
    """
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
