"""Train the networks of camvid.py and measure each at sizes on and off its grid.

``python results/sizes/measure.py [NETWORK ...]`` from the root of the repository, with CAMVID_ROOT
set. Lines are added to results/sizes.jsonl.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

CONFIG = 'results/sizes/camvid.py'
CONTROL = 'model.data_preprocessor.grid.stride=224'  # pads sizes on the grid as well, to the grid
SIZES = '192x256 193x257 200x264 208x272 223x287 180x240'
ALIGNED = '193x257 194x258 200x264 192x256 180x240'
TRAINED = {  # iterations, sizes
    'efficientnet-lite0_fpn': (500, SIZES),
    'segformer_mit-b0': (500, SIZES),
    'deeplabv3plus_r18-d16': (200, SIZES),
    'deeplabv3plus_r18-d8_align': (200, ALIGNED),
}
RANDOM = {  # too large to train on a CPU: random weights, BatchNorm statistics of 8 batches
    'deeplabv3plus_r50-d16': '512x512 512x683 375x500',
    'deeplabv3plus_r101-d8_align': '513x513 512x683 375x500',
}


def run(command: str, network: str) -> str:
    """What a command prints."""
    print(command, flush=True)
    env = {**os.environ, 'NETWORK': network}
    words = [sys.executable, *command.split()]
    return subprocess.run(words, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


def train(network: str, iterations: int, *options: str) -> str:
    """Train unless the checkpoint exists; its path."""
    folder = f'work_dirs/sizes/{network}'
    checkpoint = f'{folder}/iter_{iterations}.pth'
    if not Path(checkpoint).exists():
        settings = ' '.join((f'train_cfg.max_iters={iterations}', *options))
        run(f'tools/train.py {CONFIG} --work-dir {folder} --cfg-options {settings}', network)
    return checkpoint


def measure(network: str, weights: str, arguments: str) -> None:
    """Add a line a size to results/sizes.jsonl."""
    command = f'tools/displacement.py {CONFIG} {arguments}'
    facts = dict(
        network=network,
        weights=weights,
        seed=0,
        command=f'NETWORK={network} python {command}',
        hardware=f'CPU, 1 thread, {platform.machine()}',
    )
    with Path('results/sizes.jsonl').open('a') as file:
        for line in run(command, network).splitlines():
            if line.startswith('{'):
                file.write(json.dumps(facts | json.loads(line)) + '\n')


def main(networks: list[str]) -> None:
    """All networks, or those that are named."""
    for network in networks or [*TRAINED, *RANDOM]:
        if network in TRAINED:
            iterations, sizes = TRAINED[network]
            weights, limit = f'CamVid, {iterations} iterations', ''
            checkpoint = train(network, iterations)
        else:
            sizes, weights, limit = RANDOM[network], 'random', ' --limit 1'
            norms = (f'model.{part}.norm_cfg.momentum=0.3' for part in ('backbone', 'decode_head'))
            still = ('optim_wrapper.optimizer.lr=0', 'train_dataloader.batch_size=2')
            checkpoint = train(network, 8, *still, 'train_cfg.val_interval=100', *norms)
        measure(network, weights, f'{checkpoint} --sizes {sizes}{limit}')
        control = f'--sizes {sizes.split()[0]}{limit} --cfg-options {CONTROL}'
        measure(network, weights, f'{checkpoint} {control} model.data_preprocessor.size=None')


if __name__ == '__main__':
    main(sys.argv[1:])
