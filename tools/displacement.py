"""Is my network displaced at my test size? Predict with padding to the grid and without it."""

import argparse
import json

from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.runner.utils import set_random_seed
from mmseg.apis import init_model
from mmseg.registry import DATASETS

from mmseg_u2pl.analysis.displacement import compare


def main() -> None:
    """Print one JSON line a size; displacements are pixels of the ground truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file; its validation images are predicted')
    parser.add_argument('checkpoint', nargs='?', help='none: random weights')
    parser.add_argument('--sizes', nargs='+', required=True, help='of the input, HEIGHTxWIDTH')
    parser.add_argument('--limit', type=int, help='only the first images')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    set_random_seed(0)
    model = init_model(cfg, args.checkpoint, device=get_device())
    data = cfg.val_dataloader.dataset
    first, *steps = [step for step in data.pipeline if step.type != 'Resize']
    for text in args.sizes:
        size = [int(side) for side in text.split('x')]
        resize = dict(type='Resize', scale=tuple(size[::-1]), keep_ratio=False)
        dataset = DATASETS.build(dict(data, pipeline=[first, resize, *steps]))
        images = range(min(args.limit or len(dataset), len(dataset)))
        result = compare(model, (dataset[i] for i in images))
        padded_to = [model.data_preprocessor.grid.fit(side) for side in size]
        print(json.dumps(dict(size=size, padded_to=padded_to, **result)), flush=True)


if __name__ == '__main__':
    main()
