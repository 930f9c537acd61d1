"""Let a config train on generated scenes, so that it can be timed without its data."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ..prepare.synthetic import CLASSES, write_dataset


def use_scenes(cfg: Config, root: str | Path, height: int, width: int) -> None:
    """Replace the training images by 16 labeled and 32 unlabeled scenes; pipelines stay.

    Args:
        cfg: Of training, changed in place.
        root: A new folder for the scenes, JPEG images and PNG masks.
        height: Of the image files, pixels.
        width: Of the image files, pixels.

    Raises:
        ValueError: The model has fewer classes than the scenes.
    """
    num_classes = cfg.model.decode_head.num_classes
    if num_classes < len(CLASSES):
        raise ValueError(
            f'decode_head.num_classes={num_classes}, but the generated scenes have '
            f'{len(CLASSES)} classes: measure this config on its own data'
        )
    write_dataset(
        root, num_labeled=16, num_unlabeled=32, num_val=0, num_test=0, height=height, width=width
    )
    names = tuple(f'class {number}' for number in range(num_classes))
    palette = [[number % 256] * 3 for number in range(num_classes)]
    shared = dict(data_root=str(root), img_suffix='.jpg')
    folders = dict(img_path='img_dir/train', seg_map_path='ann_dir/train')
    labeled = dict(
        type='BaseSegDataset',
        metainfo=dict(classes=names, palette=palette),
        data_prefix=folders,
        ann_file='splits/labeled.txt',
        **shared,
    )
    unlabeled = dict(
        type='UnlabeledDataset',
        data_prefix=dict(img_path='img_dir/train'),
        ann_file='splits/unlabeled.txt',
        **shared,
    )
    dataset = cfg.train_dataloader.dataset
    if dataset.type == 'SemiDataset':
        dataset.labeled = dict(labeled, pipeline=dataset.labeled.pipeline)
        dataset.unlabeled = dict(unlabeled, pipeline=dataset.unlabeled.pipeline)
    else:
        cfg.train_dataloader.dataset = dict(labeled, pipeline=dataset.pipeline)
