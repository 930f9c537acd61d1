"""Train a segmentor, with the flags of mmseg's tool, --data, --split and --iters."""

import argparse
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import print_log

from mmseg_u2pl.cli import (
    add_common_arguments,
    build_runner,
    check_split,
    command_line,
    load_config,
    tool,
)
from mmseg_u2pl.engine.auto_scale import auto_scale, describe, launched_processes
from mmseg_u2pl.engine.checkpoints import latest_checkpoint


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("train")} configs/u2pl/u2pl_effnet-lite0_small.py --data synthetic',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='continue from the newest checkpoint of the work dir that can be read',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU'
    )
    parser.add_argument(
        '--auto-scale',
        action='store_true',
        help='fit accumulation, iterations and learning rates to the number of processes, so that a '
        "step sees the config's auto_scale_lr.base_batch_size samples; after --cfg-options",
    )
    add_common_arguments(parser)
    return parser.parse_args()


def _use_amp(optim_wrapper: ConfigDict) -> None:
    """Train in mixed precision."""
    on_cpu = get_device() == 'cpu'
    wrapper = 'BFloat16OptimWrapper' if on_cpu else 'AmpOptimWrapper'
    kind = optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', wrapper):
        raise SystemExit(f'--amp replaces OptimWrapper, but the config has {kind}')
    optim_wrapper.type = wrapper
    if not on_cpu:
        optim_wrapper.setdefault('loss_scale', 'dynamic')


def resume(cfg: Config) -> None:
    """Start from the newest checkpoint of the work dir, or from the beginning if there is none."""
    folder = Path(cfg.work_dir)
    if out := cfg.get('default_hooks', {}).get('checkpoint', {}).get('out_dir'):
        folder = Path(out, folder.resolve().name)  # as CheckpointHook does
    latest = latest_checkpoint(folder)
    if latest is None:
        print_log(f'{folder} has no checkpoint: training starts at iteration 0')
    else:
        cfg.resume, cfg.load_from = True, str(latest)


@command_line
def main() -> None:
    """Build the runner from the config and train."""
    args = parse_args()
    cfg = load_config(args)
    check_split(cfg)
    if args.resume:
        resume(cfg)
    if args.amp:
        _use_amp(cfg.optim_wrapper)
    changes = auto_scale(cfg, launched_processes(args.launcher)) if args.auto_scale else None
    runner = build_runner(cfg)
    if changes is not None:
        runner.logger.info(describe(changes))
    runner.train()


if __name__ == '__main__':
    main()
