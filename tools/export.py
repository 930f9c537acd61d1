"""Export the network of a checkpoint, for plain mmseg, onnxruntime or torch alone."""

import argparse
import logging
import re
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import torch

from mmseg_u2pl.cli import One, add_checkpoint_arguments, command_line, tool
from mmseg_u2pl.datasets.files import images_by_stem
from mmseg_u2pl.inference.checkpoint import load_model
from mmseg_u2pl.inference.export import FILES, FORMATS, export, read_source, resized, table
from mmseg_u2pl.inference.model_card import model_card

PACKAGES = dict(safetensors=['safetensors'], onnx=['onnx', 'onnxscript', 'onnxruntime'])
"""What formats need."""
TITLE = '# Model card'
"""How the card begins, by which an export is known."""
TOLERANCE = 1e-3
"""Of logits."""
SIDES = (320, 226)
"""Longer sides of the images that are compared, pixels."""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=f'{__doc__} Each file is compared with the network that it was made from.',
        epilog=f'example: {tool("export")} work_dirs/crack/best_teacher_mIoU_iter_1200.pth '
        '-o exported --format mmseg onnx --images photos',
    )
    add_checkpoint_arguments(
        parser, 'of a training with this package or with mmseg', nargs='+', action=One
    )
    parser.add_argument(
        '--predictor', help='teacher, student, network1 ...; default: the one that predicts'
    )
    parser.add_argument(
        '--format', nargs='+', choices=FORMATS, default=['mmseg'], help='default: mmseg'
    )
    parser.add_argument('--images', help='folder of images to compare on; default: random pixels')
    args = parser.parse_args()
    for name in args.format:
        if missing := [each for each in PACKAGES.get(name, ()) if not find_spec(each)]:
            parser.error(
                f"--format {name} needs {', '.join(missing)}: pip install 'mmseg-u2pl[export]'"
            )
    return args


def read_images(folder: str | None) -> list[torch.Tensor]:
    """An image (3, H, W), RGB, for each of :data:`SIDES`."""
    if folder is None:
        return [torch.randint(256, (3, side * 3 // 4, side), dtype=torch.uint8) for side in SIDES]
    names = [name for same in images_by_stem(folder).values() for name in same]
    found = []
    for number, side in enumerate(SIDES):
        path = Path(folder, names[number % len(names)])
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f'{path} cannot be read as an image')
        factor = side / max(image.shape)
        height, width = (max(1, round(length * factor)) for length in image.shape[:2])
        pixels = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
        found.append(resized(pixels, height, width))
    return found


def read_meta(path: str, content: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its training; the score of one that was kept for it."""
    meta = dict(content.get('meta') or {})
    score = content.get('message_hub', {}).get('runtime_info', {}).get('best_score')
    if score is not None and (name := re.match(r'best_(.+)_(iter|epoch)_\d+', Path(path).name)):
        meta['metrics'] = f'{name[1]} {float(score):.2f} on the validation set'
    return meta


@command_line
def main() -> None:
    """Load, export, compare, and write the model card."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.INFO)  # which backend loads the checkpoint
    images = read_images(args.images)
    model, cfg, dataset_meta, content = load_model(
        args.checkpoint,
        args.config,
        predictor=args.predictor,
        trust_checkpoint=args.trust_checkpoint,
    )
    card = args.out / 'README.md'
    if not (card.exists() and card.read_text(encoding='utf-8').startswith(TITLE)):
        for path in (card, *(args.out / name for name in FILES)):
            if path.exists():
                raise ValueError(
                    f'{path} is not of an export by this tool: choose another folder by -o'
                )
    source = read_source(model, cfg, dataset_meta, read_meta(args.checkpoint, content))
    args.out.mkdir(parents=True, exist_ok=True)
    if not card.exists():  # after a failure the folder is still ours
        card.write_text(f'{TITLE}\n', encoding='utf-8')
    compared = export(source, args.out, args.format, images)
    rows = table(compared)
    fixed = {each.format: each.size for each in compared if each.fixed}
    text = model_card(source, args.format, rows, fixed)
    card.write_text(text, encoding='utf-8')
    print(rows)
    written = {each.file for each in compared} | (
        {'config.py'} if 'mmseg' in args.format else set()
    )
    if old := [name for name in FILES if name not in written and (args.out / name).exists()]:
        print(f'left from an earlier export, and not described: {", ".join(old)}')
    wrong = {each.file for each in compared if not each.difference <= TOLERANCE}
    if wrong:
        print(f'error: logits of {", ".join(sorted(wrong))} differ by more than {TOLERANCE}',
              file=sys.stderr)  # fmt: skip
        raise SystemExit(1)


if __name__ == '__main__':
    main()
