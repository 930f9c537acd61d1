"""Check a runner's data, model and settings against each other before training."""

import warnings
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

from mmcv.transforms import LoadAnnotations
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from mmseg.registry import DATASETS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..datasets import SemiDataset, SemiSampler
from ..datasets.checks import check_dataset_config, check_files, leaves, loading_step
from ..datasets.labels import Labels, count_labels
from ..functional import IGNORE
from ..models import SemiSegmentor
from . import setting_checks
from .segmentor import segmentor


def check_training(runner: Runner) -> None:
    """Everything that would otherwise fail, or silently go wrong, after the first step.

    For semi-supervised models and plain segmentors alike. A model that needs more has a method
    ``check(runner)``. In a distributed run all processes call this together.

    Raises:
        TypeError: The training data set is not a ``SemiDataset``, or its sampler not a
            ``SemiSampler``.
        FileNotFoundError: A file of the training, validation or test data is missing.
        ValueError: Names the setting or file, its value and the remedy; also as
            :func:`check_labels`.
    """
    model = segmentor(runner)
    loader = runner.train_dataloader
    if not isinstance(loader.dataset, SemiDataset):
        raise TypeError(
            f'train_dataloader.dataset is a {type(loader.dataset).__name__}; '
            f"{type(model).__name__} trains on dict(type='SemiDataset', labeled=..., "
            'unlabeled=...), a supervised baseline without unlabeled'
        )
    _check_classes(model, loader.dataset)
    _check_batch(model, loader)
    _refuse(
        setting_checks.heads(model),
        setting_checks.schedule(runner),
        setting_checks.whole_steps(runner),
        setting_checks.metrics(runner),
        setting_checks.unlabeled(loader.dataset.unlabeled) if loader.dataset.unlabeled else (),
    )
    grid, test_cfg = getattr(model.data_preprocessor, 'grid', None), model.test_cfg or {}
    if grid is not None and test_cfg.get('mode') == 'slide':
        grid.check(test_cfg['crop_size'], 'model.test_cfg.crop_size')
    if hasattr(model, 'check'):
        model.check(runner)
    for name, dataset in {'train': loader.dataset, **scored_datasets(runner)}.items():
        where = f'{name}_dataloader.dataset'
        for place, (leaf, indices) in check_files(dataset, where).items():
            _refuse(setting_checks.images(model, leaf, indices, place))
        if name != 'train' and _loads_masks(dataset):
            _refuse(setting_checks.classes(loader.dataset.labeled, dataset, where))
            _check_loaded(dataset, count_labels(dataset, where), model.num_classes)
    labeled, names = loader.dataset.labeled, loader.dataset.metainfo['classes']
    _check_loaded(labeled, loader.dataset.labels, model.num_classes, names)


def check_test(runner: Runner) -> None:
    """Refuse files of the test set that a test would stop at, or score in silence as something else.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: Names the file, its value and the remedy; also as :func:`check_labels`.
    """
    dataset, where = runner.test_dataloader.dataset, 'test_dataloader.dataset'
    check_files(dataset, where)
    if _loads_masks(dataset):
        _check_loaded(dataset, count_labels(dataset, where), segmentor(runner).num_classes)


def _loads_masks(dataset: Any) -> bool:
    return all(loading_step(leaf, LoadAnnotations) for _, leaf in leaves(dataset))


def _refuse(*problems: Iterable[str]) -> None:
    """Raise the first problem that a process finds in all: each looks at other files, none waits alone."""
    try:
        found = list(islice(chain(*problems), 1))
    except ValueError as error:
        found = [str(error)]
    for problem in chain.from_iterable(all_gather_object(found)):
        raise ValueError(problem)


def scored_datasets(runner: Runner) -> dict[str, Any]:
    """The data sets ``'val'`` and ``'test'``, those that the config has.

    A test set that no loop has built yet is built and left in the place of its config for the test
    loop; one with the validation set's config is the validation set.
    """
    found: dict[str, Any] = {}
    for name in ('val', 'test'):
        loop, loader = (getattr(runner, f'_{name}_{part}', None) for part in ('loop', 'dataloader'))
        if isinstance(loop, BaseLoop):
            found[name] = loop.dataloader.dataset
        elif isinstance(loader, dict):
            dataset = loader['dataset']
            if isinstance(dataset, dict):
                val = runner.cfg.get('val_dataloader') or {}
                if 'val' in found and dataset == val.get('dataset'):
                    continue
                check_dataset_config(dataset, f'{name}_dataloader.dataset')
                dataset = DATASETS.build(dataset)
                setattr(runner, f'_{name}_dataloader', {**loader, 'dataset': dataset})
            found[name] = dataset
    return found


def _check_loaded(dataset: Any, labels: Labels, num_classes: int, classes: Any = ()) -> None:
    """:func:`check_labels`; a warning where transforms of others, after loading, may map the labels."""
    known = ('mmseg', 'mmcv', 'mmengine', 'mmseg_u2pl')
    steps = (step for _, leaf in leaves(dataset) for step in leaf.pipeline.transforms)
    others = [step for step in steps if type(step).__module__.split('.')[0] not in known]
    try:
        check_labels(labels, num_classes, classes)
    except ValueError as error:
        if not others:
            raise
        names = ', '.join(sorted({type(step).__name__ for step in others}))
        warnings.warn(f'unless {names} changes the labels: {error}', stacklevel=2)


def check_labels(labels: Labels, num_classes: int, classes: Any = ()) -> None:
    """Masks hold only 0 ... C−1 and 255; warns of classes without pixels.

    Args:
        labels: Of a data set.
        num_classes: C, the model's.
        classes: Names of those that need pixels.

    Raises:
        ValueError: Names the file, the value and the remedy.
    """
    remedy = (
        'map the values (a 0/255 mask needs 255 → 1): '
        "dict(type='LoadMask', values={0: 0, 255: 1}) instead of LoadAnnotations"
    )
    for label, path in labels.examples.items():
        if label >= num_classes and label != IGNORE:
            raise ValueError(
                f'mask {path!r} holds the label {label}, but the model has the '
                f'classes 0 ... {num_classes - 1} and {IGNORE} means ignore. Set '
                f'decode_head.num_classes; if 0 means ignore, reduce_zero_label=True; or {remedy}'
            )
    present = set(labels.examples)
    # one of two classes, or all that there is to learn from; a test set may show class 0 alone
    suspicious = num_classes == 2 or bool(classes) or 0 not in present
    if suspicious and present <= {0, IGNORE} and IGNORE in present:
        raise ValueError(
            f'all masks, such as {labels.examples[IGNORE]!r}, hold only 0 and {IGNORE}, which '
            f'means ignore: only class 0 has pixels. To have two classes, {remedy}'
        )
    empty = [str(name) for label, name in enumerate(classes) if not labels.counts[label]]
    if empty and is_main_process():
        warnings.warn(
            f'no labeled pixel of {", ".join(empty)}: {len(empty)} of {num_classes} classes cannot '
            'be learned from these masks. Choose labeled images that show them',
            stacklevel=2,
        )


def _check_classes(model: Any, dataset: SemiDataset) -> None:
    classes = dataset.metainfo.get('classes')
    if classes is None:
        raise ValueError(
            'the labeled data set has no class names: give it metainfo=dict(classes=(...))'
        )
    heads = [(name, head.num_classes) for name, head, _ in setting_checks.softmax_heads(model)]
    for name, number in [('decode_head', model.num_classes), *heads]:
        if number != len(classes):
            raise ValueError(
                f'{name}.num_classes={number}, but the labeled data set has {len(classes)} '
                f'classes ({", ".join(classes)}): set num_classes={len(classes)}'
            )


def _check_batch(model: Any, loader: Any) -> None:
    sampler = loader.sampler
    if not isinstance(sampler, SemiSampler):
        raise TypeError(
            f'train_dataloader.sampler is a {type(sampler).__name__}: only '
            "dict(type='SemiSampler', ratio=(1, 1)) fixes labeled : unlabeled in each batch, and "
            '(1, 0) draws the same labeled images for a supervised baseline'
        )
    pattern = sum(sampler.ratio)
    if loader.batch_size is None or loader.batch_size % pattern:
        raise ValueError(
            f'train_dataloader.batch_size={loader.batch_size} is not a multiple of '
            f'{pattern} = sum of sampler.ratio {sampler.ratio}'
        )
    labeled, unlabeled = (loader.batch_size // pattern * number for number in sampler.ratio)
    if labeled == 1 and (pooled := _pools_all(model)):
        raise ValueError(
            f'{pooled} averages each map to one pixel, and its BatchNorm needs two images for that, '
            f'but a step has one labeled image: raise train_dataloader.batch_size={loader.batch_size}'
        )
    group = getattr(model, 'unlabeled_group', 0)  # plain segmentors take none
    if bool(unlabeled) != bool(group):
        need = 'needs unlabeled images' if group else 'takes no unlabeled images'
        remedy = 'unlabeled=... and ratio=(1, 1)' if group else 'unlabeled=None and ratio=(1, 0)'
        raise ValueError(
            f'{type(model).__name__} {need}, but a batch has {unlabeled}: give '
            f'train_dataloader.dataset and its sampler {remedy}'
        )
    if group and unlabeled % group:
        raise ValueError(
            f'{type(model).__name__} takes unlabeled images in groups of {group}, '
            f'but a batch has {unlabeled}: change the second number of '
            f'train_dataloader.sampler.ratio={tuple(sampler.ratio)} or '
            f'batch_size={loader.batch_size}'
        )


def _pools_all(model: Any) -> str:
    """The head with BatchNorm after a global average, such as ASPP's or PSP's; '' without one.

    A decode head that never sees labeled images alone does not count.
    """
    shared = nn.SyncBatchNorm if get_world_size() > 1 else ()  # sees the images of all processes
    semi = isinstance(model, SemiSegmentor)
    together = semi and model.labeled_with_unlabeled and not model.warmup_iters
    for name in ('auxiliary_head',) if together else ('decode_head', 'auxiliary_head'):
        head = getattr(model, name, None) or nn.Module()
        for part in (part for part in head.modules() if isinstance(part, nn.Sequential) and part):
            first = part[0]
            averages = isinstance(first, nn.AdaptiveAvgPool2d) and first.output_size in (1, (1, 1))
            norms = [each for each in part.modules() if isinstance(each, _BatchNorm)]
            if averages and any(not isinstance(each, shared) for each in norms):
                return f'{name} ({type(head).__name__})'
    return ''
