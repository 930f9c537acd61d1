"""Images without masks, from a folder or a list."""

import os
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import force_full_init
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from .files import image_names, listed_images, require_outside, stem_of


@DATASETS.register_module()
class UnlabeledDataset(BaseSegDataset):
    """Images alone: every image under a folder, or those that a list names. No mask is read.

    Names are all that is kept of an image, as bytes, which data loading workers share: 28 bytes
    for a name of 20 letters.

    Args:
        data_root: Joined to the other paths.
        data_prefix: ``dict(img_path=...)``: the image folder, searched recursively.
        ann_file: Optional list, one image a line, relative to the image folder, with or
            without suffix.
        img_suffix: Suffix of list lines that have none. None: whichever the file in the folder
            has; giving it saves a walk over a large folder.
        without: A folder of masks, of which only the names are read: ``without='masks'`` is every
            image that has no mask.
        **kwargs: As in mmseg's ``BaseSegDataset``, but for ``serialize_data``: names always are.

    Raises:
        FileNotFoundError: A folder or list is missing; a line names no image.
        ValueError: A line that leaves the folder, names an image twice or a stem of two images;
            no image is found, or left; the folder of masks is in that of images.
    """

    def __init__(
        self, img_suffix: str | None = None, without: str | None = None, **kwargs: Any
    ) -> None:
        self.without = without
        super().__init__(img_suffix=img_suffix, **{**kwargs, 'serialize_data': True})

    def load_data_list(self) -> list[str]:
        """Names in the image folder; :meth:`get_data_info` makes a dict of one when it is needed."""
        folder = self.data_prefix['img_path']
        if self.ann_file:
            names = list(listed_images(self.ann_file, folder, self.img_suffix))
        else:
            names = image_names(folder)
        if not self.without:
            return names
        masks = os.path.join(self.data_root or '', self.without)
        stems = set(map(stem_of, image_names(masks)))
        left = [name for name in names if stem_of(name) not in stems]
        if not left:
            raise ValueError(
                f'without={self.without!r} leaves out all {len(names)} images of {folder!r}: there '
                'is nothing unlabeled to train on'
            )
        if not self.ann_file:
            require_outside(folder, masks)
        return left

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        """All names as bytes, end to end, and where each ends; mmengine would pickle dicts."""
        names = [name.encode('utf-8', 'surrogatepass') for name in self.data_list]
        self.data_list.clear()
        ends = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
        return np.frombuffer(b''.join(names), np.uint8), ends

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """What mmseg's transforms expect of an image: ``img_path``, and no label anywhere."""
        position = range(len(self))[idx]
        start = self.data_address[position - 1] if position else 0
        name = self.data_bytes[start : self.data_address[position]].tobytes()
        folder = self.data_prefix['img_path']
        return dict(
            img_path=os.path.join(folder, name.decode('utf-8', 'surrogatepass')),
            label_map=None,
            reduce_zero_label=False,
            seg_fields=[],
            sample_idx=position,
        )


@TRANSFORMS.register_module()
class AddValidityMap(BaseTransform):
    """Give an unlabeled image a map that marks padding: 0 on the image, 255 on padding.

    It goes through resize, flip, crop and pad like a mask, so the training step knows which
    pixels of a crop are padding. Without any map mmseg could not stack the samples. It is never
    a label: semi-supervised methods read nothing but where it is 255.

    Required keys: ``img``. Added: ``gt_seg_map`` uint8 (H, W); modified: ``seg_fields``.
    """

    def transform(self, results: dict) -> dict:
        """Add the map."""
        results['gt_seg_map'] = np.zeros(results['img'].shape[:2], dtype=np.uint8)
        results['seg_fields'].append('gt_seg_map')
        return results
