"""Let a config train on generated scenes, so that it can be timed without its data."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ...prepare.synthetic import CLASSES, write_dataset


def use_scenes(cfg: Config, root: str | Path, height: int, width: int) -> None:
    """Replace the training images by 16 labeled and 32 unlabeled scenes; pipelines stay.

    Args:
        cfg: Of training, changed in place.
        root: A new folder for the scenes.
        height: Of the images, pixels.
        width: Of the images, pixels.

    Raises:
        ValueError: The model has fewer classes than the scenes.
    """
    classes = cfg.model.decode_head.num_classes
    if classes < len(CLASSES):
        raise ValueError(
            f'decode_head.num_classes={classes}, but the generated scenes have '
            f'{len(CLASSES)} classes: measure this config on its data'
        )
    sizes = dict(height=height, width=width)
    write_dataset(root, num_labeled=16, num_unlabeled=32, num_val=0, num_test=0, **sizes)
    names = tuple(f'class {number}' for number in range(classes))
    folders = dict(img_path='img_dir/train', seg_map_path='ann_dir/train')
    labeled = dict(
        type='BaseSegDataset',
        metainfo=dict(classes=names, palette=[[number % 256] * 3 for number in range(classes)]),
        data_prefix=folders,
    )
    unlabeled = dict(type='UnlabeledDataset', data_prefix=dict(img_path=folders['img_path']))
    parts = cfg.train_dataloader.dataset
    for name, part in (('labeled', labeled), ('unlabeled', unlabeled)):
        if parts.get(name):
            lists = dict(data_root=str(root), img_suffix='.jpg', ann_file=f'splits/{name}.txt')
            parts[name] = dict(part, pipeline=parts[name].pipeline, **lists)
