"""Class names and palettes of the data sets with ready configs that mmseg does not have."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid, 11 classes in the SegNet protocol (Brostow et al. 2009); 255 = void."""

    METAINFO = dict(
        classes=(
            'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car',
            'pedestrian', 'bicyclist',
        ),
        palette=[
            [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
            [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0],
            [0, 128, 192],
        ],
    )  # fmt: skip


@DATASETS.register_module()
class LabelMeFacadeDataset(BaseSegDataset):
    """LabelMeFacade, 8 classes (Fröhlich et al., ICPR 2010); 255 = various."""

    METAINFO = dict(
        classes=(
            'building', 'car', 'door', 'pavement', 'road', 'sky', 'vegetation', 'window',
        ),
        palette=[
            [128, 0, 0], [128, 0, 128], [128, 128, 0], [128, 128, 128], [128, 64, 0],
            [0, 128, 128], [0, 128, 0], [0, 0, 128],
        ],
    )  # fmt: skip


@DATASETS.register_module()
class SyntheticStreetDataset(BaseSegDataset):
    """The demo's generated scenes, 8 classes; :mod:`mmseg_u2pl.prepare.synthetic` draws them."""

    METAINFO = dict(
        classes=('sky', 'building', 'road', 'pavement', 'tree', 'car', 'person', 'pole'),
        palette=[
            [70, 130, 180], [70, 70, 70], [128, 64, 128], [244, 35, 232], [107, 142, 35],
            [0, 0, 142], [220, 20, 60], [255, 200, 0],
        ],
    )  # fmt: skip


@DATASETS.register_module()
class VOCAnimalsDataset(BaseSegDataset):
    """Animals and persons of PASCAL VOC 2012, 7 classes; 255 = void and other objects."""

    METAINFO = dict(
        classes=('background', 'cat', 'cow', 'dog', 'horse', 'sheep', 'person'),
        palette=[
            [0, 0, 0], [64, 0, 0], [64, 128, 0], [64, 0, 128], [192, 0, 128], [128, 64, 0],
            [192, 128, 128],
        ],
    )  # fmt: skip
