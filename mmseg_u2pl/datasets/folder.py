"""A user's own folders: images of one folder and masks of another, matched by stem."""

import os
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .files import images_by_stem, line_of, listed_images, stem_of


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """Images of one folder and masks of another, matched by stem whatever their suffixes.

    Without ``ann_file``: every image that has a mask. Otherwise those that the list names, one a
    line, with or without suffix; each needs a mask. For training, validation and test.

    Args:
        data_prefix: ``dict(img_path=..., seg_map_path=...)``, both searched recursively.
        **kwargs: As in mmseg's ``BaseSegDataset``; ``metainfo=dict(classes=(...))`` names the
            classes.

    Raises:
        FileNotFoundError: A folder or list is missing; a line names no image, or one without mask.
        ValueError: No folder of masks; a bad line; an image or mask of two suffixes.
        TypeError: ``img_suffix`` or ``seg_map_suffix``: nothing would read them.
    """

    def __init__(self, *, data_prefix: dict, **kwargs: Any) -> None:
        for key in ('img_suffix', 'seg_map_suffix'):
            if key in kwargs:
                raise TypeError(
                    f'{key}={kwargs[key]!r}: FolderDataset finds any suffix; remove the setting, '
                    'or take BaseSegDataset if masks are named otherwise than their images'
                )
        if not {'img_path', 'seg_map_path'} <= set(data_prefix):
            raise ValueError(
                f'data_prefix={dict(data_prefix)!r}: FolderDataset needs the folders img_path and '
                'seg_map_path; images without masks are an UnlabeledDataset'
            )
        super().__init__(data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One dict an image: ``img_path``, ``seg_map_path`` and what mmseg's transforms expect."""
        folder, mask_folder = self.data_prefix['img_path'], self.data_prefix['seg_map_path']
        images, masks = images_by_stem(folder), images_by_stem(mask_folder)
        if self.ann_file:
            listed = listed_images(self.ann_file, folder, images=images)
        else:
            listed = {name: 0 for stem in images if stem in masks for name in images[stem]}
            if not listed:
                raise FileNotFoundError(
                    f'no image in {folder!r} has a mask of its stem in {mask_folder!r}: images are '
                    f'like {next(iter(images.values()))[0]!r}, masks like '
                    f'{next(iter(masks.values()))[0]!r}. Name masks as their images, or take '
                    'BaseSegDataset with img_suffix and seg_map_suffix'
                )
        image_of: dict[str, str] = {}
        for name, line in listed.items():
            stem = stem_of(name)
            names = masks.get(stem, [])
            where = line_of(self.ann_file, line) if line else ''
            if image_of.setdefault(stem, name) != name:
                raise ValueError(
                    f'{where}{image_of[stem]!r} and {name!r} in {folder!r} have one stem, so one '
                    'mask: keep one, or write a list that names one with its suffix'
                )
            if not names:
                raise FileNotFoundError(
                    f'{where}the image {name!r} has no mask {stem!r} with any suffix in '
                    f'{mask_folder!r}: add it, or take the line away'
                )
            if len(names) > 1:
                raise ValueError(
                    f'{where}{names[0]!r} and {names[1]!r} in {mask_folder!r} are both the mask of '
                    f'the image {name!r}: keep one, and masks in a separate folder'
                )
        return [
            dict(
                img_path=os.path.join(folder, name),
                seg_map_path=os.path.join(mask_folder, masks[stem_of(name)][0]),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for name in listed
        ]
