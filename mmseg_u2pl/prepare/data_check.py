"""Decode every image and mask of a config, and say what is wrong with them."""

from collections import Counter
from typing import Any, NamedTuple

from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmseg.registry import DATASETS

from ..datasets.checks import check_dataset_config, leaves, loading_step
from ..datasets.files import in_threads, require_size
from ..datasets.labels import read_labels
from ..datasets.prediction import check_whole
from ..functional import IGNORE


class DataSetReport(NamedTuple):
    """Of ``'labeled'``, ``'unlabeled'``, ``'val'`` or ``'test'``: what could be decoded, what not."""

    name: str
    sizes: Counter[tuple[int, int]]  # number of images by (width, height)
    num_masks: int
    problems: list[str]  # each names its file


def check_data(cfg: Config) -> list[DataSetReport]:
    """Reports of a config's data sets, equal ones once, with progress bars.

    Raises:
        FileNotFoundError: A folder or list is missing.
        ValueError: A list has a bad line; the config has no data.
    """
    configs: dict[str, Any] = {}
    for loader in ('train', 'val', 'test'):
        config = (cfg.get(f'{loader}_dataloader') or {}).get('dataset')
        if config is None or config in configs.values():
            continue
        if config.get('type') == 'SemiDataset':
            configs.update((k, config[k]) for k in ('labeled', 'unlabeled') if config.get(k))
        else:
            configs['labeled' if loader == 'train' else loader] = config
    if not configs:
        raise ValueError('the config has no train_dataloader, val_dataloader or test_dataloader')
    for name, config in configs.items():
        check_dataset_config(config, name)
    return [_report(name, DATASETS.build(config)) for name, config in configs.items()]


def _report(name: str, dataset: Any) -> DataSetReport:
    num_classes = len(dataset.metainfo.get('classes') or range(IGNORE))
    items = [(leaf, index) for _, leaf in leaves(dataset) for index in range(len(leaf))]
    found = list(in_threads(lambda item: _decode(*item, num_classes), items, name))
    sizes = Counter(size for size, _, _ in found if size)
    problems = [problem for *_, both in found for problem in both]
    return DataSetReport(name, sizes, sum(decoded for _, decoded, _ in found), problems)


def _decode(dataset: Any, index: int, num_classes: int) -> tuple[Any, bool, list[str]]:
    """Width and height of an image, whether its mask was decoded, and problems of both."""
    info, size, problems = dataset.get_data_info(index), None, []
    image, mask = info['img_path'], info.get('seg_map_path')
    try:
        if load := loading_step(dataset, LoadImageFromFile):
            check_whole(image)
            size = load(dict(info))['img'].shape[1::-1]
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, cv2.error, ...
        problems.append(f'{image!r}: {error or repr(error)}')
    load = loading_step(dataset, LoadAnnotations)
    if load is None or mask is None:
        return size, False, problems
    try:
        labels = read_labels(info, load)
        require_size(mask, labels.shape[::-1], image, size or labels.shape[::-1])
        outside = labels[(labels >= num_classes) & (labels != IGNORE)]
        if outside.size:
            classes = f'the classes are 0 ... {num_classes - 1}, and {IGNORE} means ignore'
            raise ValueError(f'{mask!r}: the label {outside.min()}, but {classes}')
    except ValueError as error:
        return size, False, [*problems, str(error)]
    return size, True, problems
