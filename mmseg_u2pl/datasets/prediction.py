"""How images reach a network that predicts: a config's test pipeline, without or with masks."""

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

from mmengine.dataset import Compose
from mmseg.registry import DATASETS
from PIL import Image, UnidentifiedImageError

from ..compat import type_name
from .checks import check_files, infos, leaf_configs, leaves

_LABELS = ('LoadAnnotations', 'LoadMask', 'AddValidityMap')
_RESIZES = ('Resize', 'ResizeShortestEdge')


def check_whole(path: str) -> None:
    """Raise OSError for a file that is cut off, which OpenCV fills with gray."""
    try:
        with Image.open(path) as image:
            image.draft('L', (1, 1))  # an eighth of a JPEG's resolution reads the whole file
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError):
        if not os.path.getsize(path):
            raise OSError('the file is empty') from None  # the others OpenCV may know


def prediction_pipeline(cfg: Any, scale: int | None = None, tta: bool = False) -> list[dict]:
    """The transforms of a config from files to the network's input, without masks."""
    pipeline = pipeline_of(cfg)
    if tta and scale is None and 'tta_pipeline' in cfg:
        return _without_labels(cfg.tta_pipeline)
    pipeline = _without_labels(pipeline)
    if scale is not None:
        pipeline = [step for step in pipeline if type_name(step) not in _RESIZES]
        pipeline.insert(1, dict(type='Resize', scale=(scale * 4096, scale), keep_ratio=True))
    if tta:
        flips = [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)]
        views = dict(type='TestTimeAug', transforms=[flips, [pipeline[-1]]])
        pipeline = [*pipeline[:-1], views]
    return pipeline


def pipeline_of(cfg: Any, masks: bool = False) -> list[dict]:
    """The test pipeline of a config, or the first that loads masks; ValueError if it has none."""
    datasets = [
        (cfg.get(f'{name}_dataloader') or {}).get('dataset', {}) for name in ('test', 'val')
    ]
    parts = [part for dataset in datasets for part in leaf_configs(dataset)]
    for pipeline in (cfg.get('test_pipeline'), *(part.get('pipeline') for part in parts)):
        if pipeline and (not masks or any(type_name(step) in _LABELS for step in pipeline)):
            return pipeline
    what = 'pipeline of val or test images that loads masks' if masks else 'test_pipeline'
    raise ValueError(f'the config has no {what}: how images reach the network is unknown')


def _without_labels(pipeline: Sequence[dict]) -> list[dict]:
    """The transforms without those that load masks, in the views of ``TestTimeAug``, too."""
    kept = [copy.deepcopy(dict(step)) for step in pipeline if type_name(step) not in _LABELS]
    for step in kept:
        if type_name(step) == 'TestTimeAug':
            parts = map(_without_labels, step['transforms'])
            step['transforms'] = [part for part in parts if part]
    return kept


class WithoutMasks:
    """The images of a data set through a config's test pipeline; no mask of them is read.

    Args:
        dataset: Built, any whose ``get_data_info`` has an ``img_path``.
        cfg: A config with ``test_pipeline``, or a test or validation data set.
    """

    def __init__(self, dataset: Any, cfg: Any) -> None:
        self.dataset, self.pipeline = dataset, Compose(prediction_pipeline(cfg))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.pipeline(dict(img_path=self.dataset.get_data_info(index)['img_path']))

    def name(self, path: str) -> str:
        """An image's path below its folder, with ``/``, as lists name it."""
        for _, leaf in leaves(self.dataset):
            name = os.path.relpath(path, leaf.data_prefix['img_path'])
            if not name.startswith('..'):
                return name.replace(os.sep, '/')
        return os.path.basename(path)


def unlabeled_images(cfg: Any, masks: str | None = None) -> Any:
    """The unlabeled images of a training config, through the test pipeline.

    Args:
        cfg: Of a semi-supervised method.
        masks: Folder of their ground truth, below the unlabeled data set's ``data_root``, for a
            diagnosis. None: no mask is read.

    Returns:
        :class:`WithoutMasks`; with ``masks`` a data set of the labeled part's class.

    Raises:
        FileNotFoundError: An image has no mask in the folder.
        ValueError: The config has no unlabeled images; with ``masks``, several data sets in one.
    """
    parts = cfg.get('train_dataloader', {}).get('dataset', {})
    unlabeled = parts.get('unlabeled')
    if unlabeled is None:
        raise ValueError(
            'train_dataloader.dataset has no unlabeled images: give the config of a '
            'semi-supervised method'
        )
    if masks is None:
        return WithoutMasks(DATASETS.build(unlabeled), cfg)
    labeled, unlabeled = map(_repeated, (parts.labeled, unlabeled))
    root = unlabeled.get('data_root') or ''
    images = unlabeled.get('data_prefix', {}).get('img_path', '')
    dataset = DATASETS.build(
        {
            **labeled,
            'data_root': root,
            'data_prefix': dict(img_path=images, seg_map_path=masks),
            'ann_file': unlabeled.get('ann_file') or '',
            'pipeline': pipeline_of(cfg, masks=True),
        }
    )
    check_files(dataset, f'masks {masks}')
    if unlabeled.get('without'):  # no list names the unlabeled images
        chosen = {info['img_path'] for info in infos(DATASETS.build(unlabeled))}
        paths = [info['img_path'] for info in infos(dataset)]
        dataset.get_subset_([i for i, path in enumerate(paths) if path in chosen])
    return dataset


def _repeated(settings: Any) -> Any:
    """Settings of the data set inside wrappers such as ``RepeatDataset``."""
    while 'dataset' in settings:
        settings = settings['dataset']
    if 'datasets' in settings:
        raise ValueError(
            f'{settings["type"]}: masks of one folder cannot be compared with several data sets; give '
            'a config with one of them, by --config'
        )
    return settings


def spread(num: int, count: int) -> list[int]:
    """Indices of ``num`` of ``count`` images, evenly over all; of all if ``num`` is 0 or too large."""
    num = num if 0 < num < count else count
    return [index * count // num for index in range(num)]


def unlabeled_per_batch(cfg: Any) -> int:
    """Unlabeled images in a batch of one process: those that a step selects among."""
    loader = cfg.train_dataloader
    labeled, unlabeled = loader.get('sampler', {}).get('ratio', (1, 1))
    return max(1, loader.batch_size // (labeled + unlabeled) * unlabeled)


def batches(dataset: Any, indices: Iterable[int], size: int) -> Iterator[list[dict]]:
    """Samples in groups of at most ``size``; an image of another size starts a new group."""
    samples = (dataset[index] for index in indices)
    for _, alike in groupby(samples, lambda sample: sample['data_samples'].ori_shape):
        while group := list(islice(alike, size)):
            yield group
