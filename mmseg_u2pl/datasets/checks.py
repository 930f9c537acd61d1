"""Find a user's mistake in the data before the first training step, and say what to do."""

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.dist import all_gather_object, get_dist_info
from mmseg.datasets.transforms import LoadAnnotations as MMSegLoadAnnotations
from PIL import Image

from .files import READ_ERRORS, image_size, in_threads, require_size
from .masks import INDEX_MODES, LoadMask, color_mask

_NAMED = 10  # files that a message names, before it only counts


def check_dataset_config(config: dict, where: str) -> None:
    """The data root, folders and list of a data set config exist; nothing is read.

    Args:
        config: With mmseg's keys ``data_root``, ``data_prefix``, ``ann_file``, or a wrapper's.
        where: Its place in the user's config, for the message.

    Raises:
        FileNotFoundError: Names what is missing and which key to change.
        ValueError: The list is empty.
    """
    for key in ('datasets', 'dataset'):
        if key in config:
            for part in config[key] if key == 'datasets' else [config[key]]:
                check_dataset_config(part, f'{where}.{key}')
            return
    if '://' in str(config.get('data_root')):
        raise ValueError(
            f'{where}.data_root={config["data_root"]!r}: data are read from disks; copy or mount them'
        )
    root = Path(config.get('data_root') or '')
    if not root.exists():
        raise FileNotFoundError(
            f'{where}.data_root: no folder {str(root)!r} (from {Path.cwd()}). Put or link the '
            'data there, or change the root as the head of the data set config says'
        )
    for key, folder in config.get('data_prefix', {}).items():
        if folder is not None and not (root / folder).is_dir():
            raise FileNotFoundError(f'{where}.data_prefix.{key}: no folder {str(root / folder)!r}')
    if not config.get('ann_file'):
        return
    path = root / config['ann_file']
    if not path.is_file():
        raise FileNotFoundError(
            f'{where}.ann_file: no list {str(path)!r}. tools/make_splits.py makes lists, '
            'tools/import_splits.py imports published ones'
        )
    if not path.stat().st_size:
        raise ValueError(f'{where}.ann_file: the list {str(path)!r} is empty')


def leaves(dataset: Any, where: str = '') -> Iterator[tuple[str, Any]]:
    """The data sets inside a ``SemiDataset`` or mmengine's wrappers, and where each is."""
    if hasattr(dataset, 'parts'):
        for name, part in dataset.parts.items():
            yield from leaves(part, f'{where}.{name}')
    elif hasattr(dataset, 'datasets'):
        for index, part in enumerate(dataset.datasets):
            yield from leaves(part, f'{where}.datasets[{index}]')
    elif hasattr(dataset, 'dataset'):
        yield from leaves(dataset.dataset, f'{where}.dataset')
    else:
        yield where, dataset


def leaf_configs(dataset: Any) -> Iterator[Any]:
    """The configs of the data sets inside wrappers."""
    parts = [dataset.dataset] if 'dataset' in dataset else dataset.get('datasets')
    if parts is None:
        yield dataset
    for part in parts or ():
        yield from leaf_configs(part)


def infos(dataset: Any) -> Iterator[dict]:
    """What a data set, or those inside a wrapper, know of each image, once and in their order."""
    return (leaf.get_data_info(i) for _, leaf in leaves(dataset) for i in range(len(leaf)))


def image_paths(dataset: Any) -> set[str]:
    """Files of all images of a data set, also of a wrapper, without links."""
    return {os.path.realpath(info['img_path']) for info in infos(dataset)}


def loading_step(dataset: Any, kind: type) -> Any:
    """The first step of the data set's pipeline of that kind, or None."""
    return next((step for step in dataset.pipeline.transforms if isinstance(step, kind)), None)


def check_files(dataset: Any, where: str) -> dict[str, tuple[Any, set[int]]]:
    """Every image and mask of a built data set exists, and their headers fit each other.

    Headers are read in threads, one per file. Masks are looked at if the pipeline loads them,
    headers of images if mmcv's ``LoadImageFromFile`` does. In a distributed run all processes
    call this together: each checks a part of the files, all raise the same error.

    Args:
        dataset: A built one, a ``SemiDataset`` or a wrapper such as ``ConcatDataset``.
        where: Its place in the user's config, for the message.

    Returns:
        By place, the data sets inside and, of this process's part, their smallest and longest image.

    Raises:
        FileNotFoundError: Names the first missing file, how many there are, and the remedy.
        ValueError: The data set is empty; a file is not an image; a mask is of another size than
            its image, or of colors that the pipeline does not map.
    """
    return {place: (leaf, _check_leaf(leaf, place)) for place, leaf in leaves(dataset, where)}


def _check_leaf(dataset: Any, where: str) -> set[int]:
    source = f'{dataset.data_prefix.get("img_path")!r}'
    if dataset.ann_file:
        source += f' and the list {dataset.ann_file!r}'
    if not len(dataset):
        raise ValueError(f'{where}: no image found by {source}')
    load_image = loading_step(dataset, LoadImageFromFile)
    load_mask = loading_step(dataset, LoadAnnotations)

    def check(index: int) -> tuple[list[str | FileNotFoundError], Any]:
        return _header_problems(dataset.get_data_info(index), load_image, load_mask)

    rank, world_size = get_dist_info()
    indices = range(rank, len(dataset), world_size)
    found: list[str | FileNotFoundError] = []
    smallest, longest = (float('inf'), 0), (float('inf'), 0)
    for index, (problems, size) in zip(
        indices, in_threads(check, indices, f'{where}: files'), strict=True
    ):
        found += problems
        if size is not None:
            smallest = min(smallest, (min(size), index))
            longest = min(longest, (min(size) / max(size), index))
    found = list(chain.from_iterable(all_gather_object(found)))
    missing = sorted(str(p) for p in found if isinstance(p, FileNotFoundError))
    if missing:
        raise FileNotFoundError(
            f'{where}: {len(missing)} files are missing, the first is {missing[0]!r}. Check img_suffix '
            f'and seg_map_suffix against {source}; FolderDataset and UnlabeledDataset find any suffix '
            'and Unicode form'
        )
    raise_problems(where, [p for p in found if isinstance(p, str)])
    return {smallest[1], longest[1]}


def raise_problems(where: str, problems: Sequence[str]) -> None:
    """Raise for files that cannot be used; none, no exception.

    Raises:
        ValueError: With the first ten reasons, and how many more there are.
    """
    if problems:
        more = [f'and {len(problems) - _NAMED} more'] if len(problems) > _NAMED else []
        listed = '\n  '.join([*problems[:_NAMED], *more])
        raise ValueError(
            f'{where}: {len(problems)} files cannot be used:\n  {listed}\nReplace them, or take '
            'them out of the list'
        )


def _header_problems(
    info: dict, load_image: Any, load_mask: Any
) -> tuple[list[str | FileNotFoundError], tuple[int, int] | None]:
    """What is wrong with an image and its mask by their headers, missing ones as exceptions; its size."""
    image, mask = info['img_path'], info.get('seg_map_path') if load_mask else None
    problems: list[str | FileNotFoundError] = [
        FileNotFoundError(path) for path in (image, mask) if path and not os.path.isfile(path)
    ]
    if problems:
        return problems, None
    path, size = image, None
    try:
        if load_image is not None:
            size = _image_size(image, load_image)
        path = mask
        if mask and type(load_mask) in (MMSegLoadAnnotations, LoadMask):  # others may read anything
            with Image.open(mask) as file:
                _check_mode(file, mask, load_mask)
                if size is not None:
                    require_size(mask, file.size, image, size)
    except READ_ERRORS as error:
        text = str(error)
        return [text if str(path) in text else f'{path!r} is not a whole image: {text}'], None
    return [], size


def _image_size(path: str, load: Any) -> tuple[int, int]:
    try:
        return image_size(path)
    except ValueError:
        try:  # mmcv's decoders may know the format, or take larger images
            height, width = load({'img_path': path})['img'].shape[:2]
        except Exception as error:
            raise ValueError(f'{path!r} is not an image: {error or repr(error)}') from error
        return width, height


def _check_mode(mask: Image.Image, path: str, load: Any) -> None:
    """The pipeline can read this kind of mask.

    Raises:
        ValueError: A color mask without colors; labels that mmseg's step would cut to a byte.
    """
    mapped = isinstance(load, LoadMask) and load.colors is not None
    if mask.mode not in INDEX_MODES and not mapped:
        raise ValueError(color_mask(path, mask.mode))
    if type(load) is MMSegLoadAnnotations and mask.mode.startswith('I'):
        largest = np.asarray(mask).max()
        if largest > 255:
            raise ValueError(
                f'mask {path!r} is a {mask.mode} image with values to {largest}, of which '
                'LoadAnnotations keeps the lowest byte. Map them: '
                "dict(type='LoadMask', values={value: class, ...})"
            )
