"""Predict masks of images, folders, patterns, lists and videos with the network of a checkpoint."""

import argparse
import sys
import warnings

from rich.console import Console
from rich.progress import track

from mmseg_u2pl.cli import add_checkpoint_arguments, command_line, positive, tool
from mmseg_u2pl.inference.checkpoint import load_model
from mmseg_u2pl.inference.predict import Inference
from mmseg_u2pl.inference.sources import count, find_sources, items
from mmseg_u2pl.inference.writing import Writer


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("predict")} work_dirs/crack/best_teacher_mIoU_iter_1200.pth '
        'photos/ -o predicted --overlay',
    )
    add_checkpoint_arguments(parser, 'of a training with this package or with mmseg')
    parser.add_argument(
        'images',
        nargs='+',
        help="images and videos, folders with all below, 'patterns/**/*.png', lists (.txt) of paths",
    )
    outputs = parser.add_argument_group('results: class numbers in masks/, and on request')
    outputs.add_argument('--color', action='store_true', help='masks in colors, in color/')
    outputs.add_argument(
        '--overlay',
        action='store_true',
        help='colors over the image, with a legend, in overlay/; of a video a video',
    )
    outputs.add_argument(
        '--prob', action='store_true', help='probabilities (C, H, W), float16 in prob/*.npz'
    )
    outputs.add_argument(
        '--entropy', action='store_true', help='entropy/: 0 is sure, 255 is all classes alike'
    )
    how = parser.add_argument_group('how to predict')
    how.add_argument(
        '--batch-size', type=positive, default=1, help='images of one size go through it together'
    )
    how.add_argument('--scale', type=int, help="short side of the input, instead of the config's")
    how.add_argument(
        '--slide', type=int, nargs=2, metavar=('CROP', 'STRIDE'), help='square windows, pixels'
    )
    how.add_argument(
        '--tta',
        action='store_true',
        help="average over the views of the config's tta_pipeline; without one, or with --scale, "
        'over the image and its mirror image',
    )
    how.add_argument('--predictor', help='teacher, student, mean, ...: which network predicts')
    return parser.parse_args()


@command_line
def main() -> None:
    """Predict; exit code 1 if an image has no mask."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    sources = find_sources(args.images)
    model, cfg, meta, _ = load_model(
        args.checkpoint,
        args.config,
        predictor=args.predictor,
        trust_checkpoint=args.trust_checkpoint,
    )
    inference = Inference(
        model,
        cfg,
        batch_size=args.batch_size,
        scale=args.scale,
        slide=args.slide,
        tta=args.tta,
        probabilities=args.prob,
        entropy=args.entropy,
    )
    kinds = [kind for kind in ('color', 'overlay', 'prob', 'entropy') if getattr(args, kind)]
    about = dict(checkpoint=args.checkpoint, predictor=getattr(model, 'predictor', None))
    write = Writer(args.out, ['masks', *kinds], **meta, about=about)
    write.check(sources)
    done, failed, expected = 0, [], count(sources)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        for prediction in track(inference(items(sources)), 'predicting', expected, console=console):
            if prediction.error:
                failed.append(f'{prediction.item.title} {prediction.error}')
                continue
            try:
                write(prediction)
                done += 1
            except (FileExistsError, IsADirectoryError, NotADirectoryError, ValueError) as error:
                failed.append(f'{prediction.item.title} cannot be written: {error}')
    finally:
        write.close()
    console.print(f'{done} masks in {write.out / "masks"}; classes: {write.out / "classes.json"}')
    if done + len(failed) < expected:
        console.print(
            f'{expected - done - len(failed)} frames fewer than the videos say: is one cut off?'
        )
    if failed:
        print(f'error: {len(failed)} of {done + len(failed)} have no mask:', file=sys.stderr)
        print(*failed, sep='\n', file=sys.stderr)
        raise SystemExit(1)


if __name__ == '__main__':
    main()
