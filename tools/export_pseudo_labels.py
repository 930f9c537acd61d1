"""Write a method's pseudo-labels as masks: index PNG, 255 where unreliable, and COCO JSON.

Annotation tools read the JSON: correcting a mask is faster than drawing one.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadAnnotations
from mmengine.config import Config
from mmengine.device import get_device
from mmseg.registry import DATASETS
from PIL import Image
from rich.console import Console
from rich.progress import track

from mmseg_u2pl.analysis.pseudo_labels import place_in_training
from mmseg_u2pl.cli import One, add_checkpoint_arguments, command_line, not_negative, tool
from mmseg_u2pl.datasets.checks import leaf_configs, loading_step
from mmseg_u2pl.datasets.files import sha256_of
from mmseg_u2pl.datasets.masks import LoadMask
from mmseg_u2pl.datasets.prediction import batches, spread, unlabeled_images, unlabeled_per_batch
from mmseg_u2pl.engine.checkpoints import AtomicBackend
from mmseg_u2pl.functional import IGNORE, nearest
from mmseg_u2pl.inference.checkpoint import load_model
from mmseg_u2pl.inference.coco import CocoAnnotations
from mmseg_u2pl.inference.writing import refuse_foreign


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'example: {tool("export_pseudo_labels")} work_dirs/crack/iter_1200.pth -o pseudo',
    )
    add_checkpoint_arguments(
        parser, 'iter_*.pth of a semi-supervised method', nargs='+', action=One
    )
    parser.add_argument(
        '--num', type=not_negative, default=0, help='images, spread over the list; 0: all'
    )
    return parser.parse_args()


def earlier_export(masks: Path, marker: Path, classes: list[str]) -> dict[str, Any]:
    """What ``coco.json`` of an earlier run says; {} without one.

    Raises:
        ValueError: A mask is not the one that was written, or those are of other classes.
    """
    content = json.loads(marker.read_text(encoding='utf-8')) if marker.is_file() else {}
    before = [category['name'] for category in content.get('categories', ())]
    if before not in ([], classes):
        raise ValueError(
            f'{marker} has the classes {", ".join(before)}: choose another folder by -o'
        )
    for image in content.get('images', ()):
        path = (masks / image['file_name']).with_suffix('.png')
        if path.is_file() and sha256_of(path.read_bytes()) != image.get('mask_sha256'):
            raise ValueError(
                f'{path} was changed after it was written: choose another folder by -o, or move it away'
            )
    return content


def encoding_note(cfg: Config) -> str:
    """What to know before these masks join those of the config; '' if they hold the same numbers."""
    for part in leaf_configs(cfg.train_dataloader.dataset.labeled):
        known = DATASETS.build(dict(part, lazy_init=True))
        load = loading_step(known, LoadAnnotations)
        mapped = isinstance(load, LoadMask) and (
            load.colors is not None or any(value != label for value, label in load.values or ())
        )
        if mapped or known.reduce_zero_label:
            return (
                'note: these masks hold the numbers of the classes, and 255 where unreliable; the labeled masks '
                'of the config are mapped to these. To train on both, give these a data set of their own '
                'with LoadAnnotations, in a ConcatDataset'
            )
    return ''


@command_line
def main() -> None:
    """Label the unlabeled images; of several networks that label, by the first."""
    args = parse_args()
    warnings.filterwarnings('ignore')
    model, cfg, meta, checkpoint = load_model(
        args.checkpoint, args.config, trust_checkpoint=args.trust_checkpoint
    )
    place_in_training(model, checkpoint, args.checkpoint, cfg)
    model.to(get_device())
    images, out = unlabeled_images(cfg), args.out
    indices = spread(args.num, len(images))
    refuse_foreign([out / 'masks'], out / 'coco.json')
    marker = out / 'coco.json'
    earlier = earlier_export(out / 'masks', marker, list(meta['classes']))
    if note := encoding_note(cfg):
        print(note)
    coco, counts = CocoAnnotations(meta['classes']), np.zeros(IGNORE + 1, dtype=np.int64)
    written: dict[Path, str] = {}
    console = Console(soft_wrap=True, highlight=False, markup=False)
    watched = track(indices, 'labeling', console=console)
    if not earlier:  # a run that is killed leaves it, too
        AtomicBackend().put(json.dumps(dict(info=coco.content['info'])).encode(), marker)
    try:
        for group in batches(images, watched, unlabeled_per_batch(cfg)):
            _, found = model.label_samples(group)
            label, keep, _ = next(iter(found.values()))
            masks = nearest(label.where(keep, IGNORE), group[0]['data_samples'].ori_shape)
            for sample, mask in zip(group, masks.byte().cpu().numpy(), strict=True):
                name = images.name(sample['data_samples'].img_path)
                path = (out / 'masks' / name).with_suffix('.png')
                if (first := written.setdefault(path, name)) != name:
                    raise ValueError(f'{first} and {name} would both be {path}: rename one')
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(path)
                coco.add(name, mask, mask_sha256=sha256_of(path.read_bytes()))
                counts += np.bincount(mask.ravel(), minlength=len(counts))
    finally:  # stopped, too: it knows which masks were corrected later
        others = coco.keep(earlier)
        text = json.dumps(coco.content, ensure_ascii=False)
        AtomicBackend().put(text.encode(), marker)
    shares = counts / counts.sum()
    console.print(f'by {next(iter(found))}, {1 - shares[IGNORE]:.1%} of the pixels are reliable:')
    for title, share in zip(meta['classes'], shares, strict=False):
        console.print(f'{share:8.2%} {title}')
    if others:
        console.print(f'{others} masks of earlier runs, maybe of another checkpoint, are kept')
    console.print(
        f'{len(indices)} masks in {out / "masks"}; for annotation tools: {out / "coco.json"}'
    )


if __name__ == '__main__':
    main()
