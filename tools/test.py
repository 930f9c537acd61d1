"""Score a checkpoint, with the flags of mmseg's tool and --split.

``--images DIR --masks DIR`` scores any folder instead of the config's test set.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmseg.registry import DATASETS

from mmseg_u2pl.cli import One, add_common_arguments, build_runner, command_line, load_config, tool
from mmseg_u2pl.datasets.checks import infos, leaf_configs, leaves
from mmseg_u2pl.datasets.files import images_by_stem
from mmseg_u2pl.engine.checkpoints import AtomicBackend
from mmseg_u2pl.inference.writing import refuse_foreign
from mmseg_u2pl.version import __version__


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("test")} street/street.py work_dirs/street/iter_1200.pth',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='+', action=One, help='checkpoint file')
    parser.add_argument(
        '--images', help="score this folder instead of the config's test set; needs --masks"
    )
    parser.add_argument(
        '--masks', help='folder of masks with the names of the images, classes as in the config'
    )
    parser.add_argument(
        '--out', help='save the predicted masks, one PNG an image, and classes.json here'
    )
    parser.add_argument('--show', action='store_true', help='show each prediction in a window')
    parser.add_argument('--show-dir', help='save drawings of the predictions in this folder')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that --show waits')
    parser.add_argument(
        '--tta', action='store_true', help="average over the views of the config's tta_pipeline"
    )
    add_common_arguments(parser)
    return parser.parse_args()


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Let the visualization hook draw every image."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise SystemExit(
            '--show and --show-dir draw through a hook that the config lacks: add '
            "default_hooks = dict(visualization=dict(type='SegVisualizationHook'))"
        )
    hook.update(draw=True, interval=1)
    if args.show:
        hook.update(show=True, wait_time=args.wait_time)
    if args.show_dir:
        cfg.visualizer.save_dir = args.show_dir


def score_folder(cfg: Config, images: str, masks: str) -> None:
    """Let the test set be a folder of images and one of masks, with the config's classes."""
    found = dict(image=images_by_stem(images), mask=images_by_stem(masks))
    for kind, lack in (('image', 'mask'), ('mask', 'image')):
        if alone := sorted(found[kind].keys() - found[lack].keys()):
            example = found[kind][alone[0]][0]
            print(
                f'not scored: {len(alone)} {kind}s have no {lack} of their stem, such as {example!r}'
            )
    dataset = next(leaf_configs(cfg.test_dataloader.dataset))
    known = DATASETS.build(dict(dataset, lazy_init=True))  # reads no file
    cfg.test_dataloader.dataset = dict(
        type='FolderDataset',
        metainfo={key: known.metainfo[key] for key in ('classes', 'palette')},
        data_prefix=dict(img_path=images, seg_map_path=masks),
        reduce_zero_label=known.reduce_zero_label,
        pipeline=dataset.pipeline,
    )


def use_tta(cfg: Config) -> None:
    """Wrap the model so that it predicts from every view of ``tta_pipeline``."""
    if 'tta_pipeline' not in cfg:
        raise SystemExit(
            '--tta needs a tta_pipeline in the config, see configs/_base_/datasets/voc12.py'
        )
    for dataset in leaf_configs(cfg.test_dataloader.dataset):
        dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.get('tta_model') or dict(type='SegTTAModel'), module=cfg.model)


def save_masks(cfg: Config, folder: str) -> None:
    """Let one metric write the predicted masks."""
    metrics = cfg.test_evaluator
    metric = metrics[0] if isinstance(metrics, (list, tuple)) else metrics
    metric.update(output_dir=folder, keep_results=True)


def claim(dataset: Any, folder: str) -> None:
    """Make the folder that of this tool's masks, with the names of their classes.

    Raises:
        ValueError: Masks would replace each other, or files of another origin or of other classes.
    """
    marker = Path(folder, 'classes.json')
    classes = list(dataset.metainfo['classes'])
    if any(part.reduce_zero_label for _, part in leaves(dataset)):
        classes.insert(0, 'ignore')  # mmseg writes class + 1, as the masks of such data are
    refuse_foreign([Path(folder)], marker, classes)
    names: dict[str, str] = {}
    for info in infos(dataset):
        path = info['img_path']
        if (first := names.setdefault(Path(path).stem, path)) != path:
            raise ValueError(
                f'--out {folder}: {first} and {path} would be one mask; tools/predict.py keeps folders'
            )
    if is_main_process():
        marker.parent.mkdir(parents=True, exist_ok=True)
        content = dict(versions=dict(mmseg_u2pl=__version__), classes=classes)
        marker.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding='utf-8')


@command_line
def main() -> None:
    """Build the runner from the config and test."""
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if bool(args.images) != bool(args.masks):
        raise SystemExit('--images and --masks go together: a folder of images and one of masks')
    if args.images:
        score_folder(cfg, args.images, args.masks)
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    if args.tta:
        use_tta(cfg)
    if args.out:
        save_masks(cfg, args.out)
    runner = build_runner(cfg)
    if args.show_dir and is_main_process():  # reports look for it beside the scores
        AtomicBackend().put(cfg.pretty_text.encode(), Path(runner.log_dir, 'vis_data/config.py'))
    if args.out:
        claim(runner.test_loop.dataloader.dataset, args.out)
    runner.test()


if __name__ == '__main__':
    main()
