"""Train a segmentor: ``python tools/train.py CONFIG``; the flags are those of mmseg's own."""

from __future__ import annotations

import argparse

from mmseg_u2pl.cli import add_common_arguments, build_runner, load_config


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Train a segmentor')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume', action='store_true', help='go on from the latest checkpoint of the work dir'
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Build the runner from the config and train."""
    args = parse_args()
    cfg = load_config(args)
    cfg.resume = args.resume
    if args.amp:
        kind = cfg.optim_wrapper.type
        if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise SystemExit(f'--amp replaces OptimWrapper, but the config has {kind}')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    build_runner(cfg).train()


if __name__ == '__main__':
    main()
