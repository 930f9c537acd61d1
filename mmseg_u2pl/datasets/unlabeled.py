"""Images without masks, from a folder or a list."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def image_files(folder: Path) -> list[Path]:
    """Every image below a folder, in subfolders too, sorted."""
    return sorted(
        Path(root) / name
        for root, _, files in os.walk(folder, followlinks=True)
        for name in files
        if name.lower().endswith(IMAGE_SUFFIXES)
    )


@DATASETS.register_module()
class UnlabeledDataset(BaseSegDataset):
    """Images alone: every image under a folder, or those that a list names. No mask is read.

    Args:
        data_root: Joined to the other paths.
        data_prefix: ``dict(img_path=...)``: the image folder, searched recursively.
        ann_file: Optional list, one image a line, relative to the image folder, with or
            without suffix.
        img_suffix: Suffix of list lines that have none.
        **kwargs: As in mmseg's ``BaseSegDataset``.
    """

    def __init__(self, img_suffix: str = '.jpg', **kwargs: Any) -> None:
        super().__init__(img_suffix=img_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One dict an image: ``img_path`` and the keys mmseg's transforms expect."""
        folder = Path(self.data_prefix['img_path'])
        if self.ann_file:
            lines = Path(self.ann_file).read_text().splitlines()
            names = [line.strip() for line in lines if line.strip()]
            paths = [folder / self._with_suffix(name) for name in names]
        else:
            paths = image_files(folder)
        if not paths:  # mmengine would fail to serialise an empty list
            raise ValueError(
                f'no image found in {str(folder)!r}: data_prefix.img_path must hold files ending '
                f'in {", ".join(IMAGE_SUFFIXES)}'
            )
        return [
            dict(img_path=str(path), label_map=None, reduce_zero_label=False, seg_fields=[])
            for path in paths
        ]

    def _with_suffix(self, name: str) -> str:
        return name if name.lower().endswith(IMAGE_SUFFIXES) else name + self.img_suffix


@TRANSFORMS.register_module()
class AddValidityMap(BaseTransform):
    """Give an unlabeled image a map to carry along: 0 on the image; pads become 255.

    It goes through resize, flip, crop and pad like a mask, so the training step knows which
    pixels of a crop are image. An all-255 map could not tell, and no map at all breaks mmseg's
    stacking. It is never a label: semi-supervised methods read nothing but its 255s.

    Required keys: ``img``. Added: ``gt_seg_map`` uint8 (H, W); modified: ``seg_fields``.
    """

    def transform(self, results: dict) -> dict:
        """Add the map."""
        results['gt_seg_map'] = np.zeros(results['img'].shape[:2], dtype=np.uint8)
        results['seg_fields'].append('gt_seg_map')
        return results
