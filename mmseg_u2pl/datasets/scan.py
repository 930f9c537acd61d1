"""Open every image and mask once before training, and remember those that have not changed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import platformdirs
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmseg.datasets.transforms import LoadAnnotations as HostLoadAnnotations
from PIL import Image
from rich.progress import Progress

from .mask_files import image_size

_FORMAT = 1  # of the remembered facts: raise it when they change
_CHUNK = 32  # files a thread takes at a time
_PATIENCE = 2.0  # seconds before a progress bar shows
_KEEP = 10_000  # files after which facts are first written, so that an interrupt loses half at most

Item = TypeVar('Item')
Result = TypeVar('Result')


class UndecodableError(ValueError):
    """A file that is no image, or only a part of one."""


class Scan(NamedTuple):
    """What reading some files found.

    Attributes:
        facts: By path: of an image [width, height], as it is loaded; of a mask
            [width, height, [[label, pixels], ...]] with the labels that it has.
        errors: By path: why another file cannot be used.
    """

    facts: dict[str, list]
    errors: dict[str, Exception]


def scan_images(dataset: Any) -> Scan | None:
    """Try to decode every image of a data set; None if its pipeline has no LoadImageFromFile.

    Of a data set with a ``scan_limit``, only so many, evenly spread, and a line says so.
    Full decoding is the last resort: of a JPEG an eighth of the resolution is decoded, which
    reads the whole file, and a PNG has checksums.
    """
    load = loading_step(dataset, LoadImageFromFile)
    if load is None:
        return None
    limit = getattr(dataset, 'scan_limit', None)
    step = 1 if limit is None else -(-len(dataset) // limit)
    paths = {info['img_path']: None for info in infos(dataset, step)}
    if step > 1:
        print_log(
            f'{len(paths)} of {len(dataset)} unlabeled images are checked before training '
            f'(scan_limit={limit})',
            'current',
        )
    name = f'images {os.path.abspath(dataset.data_prefix.get("img_path") or "")} {_settings(load)}'
    return _scan(paths, lambda path, _: _read_image(path, load), name, 'images')


def scan_masks(dataset: Any) -> Scan | None:
    """Load every mask of a data set and count its labels; None if it loads no masks.

    Masks go through the data set's own loading step, so ``reduce_zero_label`` and class
    mappings count.
    """
    load = loading_step(dataset, LoadAnnotations)
    first = next(infos(dataset), {})
    if load is None or 'seg_map_path' not in first:
        return None
    masks = {info['seg_map_path']: info for info in infos(dataset)}
    settings = f'{_settings(load)} {first.get("reduce_zero_label")} {first.get("label_map")}'
    name = f'masks {os.path.abspath(dataset.data_prefix.get("seg_map_path") or "")} {settings}'
    return _scan(masks, lambda _, info: _read_mask(info, load), name, 'masks')


def infos(dataset: Any, step: int = 1) -> Iterator[dict]:
    """What the data set knows of each image, or of every ``step``-th, in its order."""
    return (dataset.get_data_info(index) for index in range(0, len(dataset), step))


def loading_step(dataset: Any, kind: type) -> Any:
    """The first step of the data set's pipeline of that kind, or None."""
    return next((step for step in dataset.pipeline.transforms if isinstance(step, kind)), None)


def _settings(step: Any) -> str:
    """What its result depends on; mmseg overwrites ``reduce_zero_label`` in use."""
    settings = {key: value for key, value in vars(step).items() if key != 'reduce_zero_label'}
    return f'{type(step).__module__}.{type(step).__qualname__} {sorted(settings.items())}'


def _read_image(path: str, load: Any) -> list:
    try:
        with Image.open(path) as image:
            if image.format in ('JPEG', 'MPO'):
                image.draft('L', (1, 1))
                image.load()
            elif image.format == 'PNG':
                image.verify()
            else:
                return _load_image(path, load)
        return list(image_size(Path(path)))
    except (Image.UnidentifiedImageError, Image.DecompressionBombError):
        return _load_image(path, load)  # which may know more formats and larger images
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error ...
        raise UndecodableError(str(error) or repr(error)) from error


def _load_image(path: str, load: Any) -> list:
    try:
        height, width = load({'img_path': path})['img'].shape[:2]
    except Exception as error:
        raise UndecodableError(str(error) or repr(error)) from error
    return [width, height]


def _read_mask(info: dict, load: Any) -> list:
    path = info['seg_map_path']
    try:
        labels = load(info)['gt_seg_map']
    except Exception as error:
        try:
            with Image.open(path) as mask:
                mask.load()
        except Exception as reason:
            raise UndecodableError(str(reason) or repr(reason)) from reason
        if path in str(error):
            raise
        raise ValueError(f'mask {path!r}: {error}') from error
    _check_bytes(path, load)
    if labels.ndim != 2:
        raise ValueError(
            f'mask {path!r} is a color image. If its colors mean classes, load it by '
            "dict(type='LoadMask', colors=[[r, g, b], ...]) instead of LoadAnnotations"
        )
    counts = np.bincount(labels.ravel())
    present = np.flatnonzero(counts)
    pixels = np.stack((present, counts[present]), axis=1).tolist()
    return [labels.shape[1], labels.shape[0], pixels]


def _check_bytes(path: str, load: Any) -> None:
    """No label is larger than a byte: mmseg's own step would keep its lowest byte, another label.

    Raises:
        ValueError: The step is mmseg's, and the mask has a larger one.
    """
    if type(load) is not HostLoadAnnotations:
        return
    with Image.open(path) as mask:
        if mask.mode.startswith('I') and np.asarray(mask).max() > 255:
            raise ValueError(
                f'mask {path!r} is a {mask.mode} image with values to {np.asarray(mask).max()}, of '
                'which LoadAnnotations keeps the lowest byte. Map them: '
                "dict(type='LoadMask', values={value: class, ...})"
            )


def _scan(
    items: Mapping[str, Item], read: Callable[[str, Item], list], name: str, what: str
) -> Scan:
    """Facts of each path, read or remembered under a name."""
    memory = Memory(name)
    known = memory.load()
    stamps = dict(zip(items, in_threads(_stamp, list(items)), strict=True))
    facts, errors, new = {}, {}, {}
    todo, due = [], _KEEP
    for path, stamp in stamps.items():
        entry = known.get(path)
        if stamp and isinstance(entry, list) and entry[:2] == stamp:
            facts[path] = entry[2:]
        else:
            todo.append(path)

    def attempt(path: str) -> list | Exception:
        try:
            return read(path, items[path])
        except Exception as error:
            return error

    for path, result in zip(todo, in_threads(attempt, todo, f'checking {what}'), strict=True):
        if isinstance(result, Exception):
            errors[path] = result
        else:
            facts[path] = result
            new[path] = [*(stamps[path] or [0, 0]), *result]
        if len(new) >= due:  # twice as many each time: the file is written whole
            memory.add(new)
            new, due = {}, 2 * due
    if new:
        memory.add(new)
    return Scan({path: facts[path] for path in items if path in facts}, errors)


def _stamp(path: str) -> list[int] | None:
    """Size and time of the last change in ns, by which a file counts as unchanged."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], what: str = ''
) -> Iterator[Result]:
    """``map`` in threads, as decoders and network disks let others run; a bar if it takes long."""
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    pool = ThreadPoolExecutor()
    progress = Progress(transient=True, disable=not (what and is_main_process()))
    task = progress.add_task(what, total=len(items))
    start, shown = time.monotonic(), False
    try:
        for results in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
            if not shown and time.monotonic() - start > _PATIENCE:
                progress.start()
                shown = True
            progress.advance(task, len(results))
            yield from results
    finally:
        if shown:
            progress.stop()
        pool.shutdown(cancel_futures=True)  # or an interrupt would wait for all files


class Memory:
    """Facts of files, kept in one JSON file a name in the user's cache folder.

    The folder is ``platformdirs.user_cache_dir('mmseg_u2pl')``, or what the environment variable
    ``MMSEG_U2PL_CACHE`` says. It may be deleted at any time. A file that is spoiled counts as
    empty; writers replace it whole, so of two at once one may have to read its images again.
    """

    def __init__(self, name: str) -> None:
        folder = os.environ.get('MMSEG_U2PL_CACHE') or platformdirs.user_cache_dir('mmseg_u2pl')
        digest = hashlib.sha256(f'{_FORMAT} {name}'.encode()).hexdigest()[:32]
        self.path = Path(folder, f'scan-{digest}.json')

    def load(self) -> dict[str, list]:
        """Size, time of change and facts by path; empty if there are none."""
        try:
            known = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return known if isinstance(known, dict) else {}

    def add(self, entries: dict[str, list]) -> None:
        """Remember more; where that cannot be, files are read at each start, and a line says so."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.path.parent) as own:
                new = Path(own, self.path.name)
                new.write_text(json.dumps({**self.load(), **entries}), encoding='utf-8')
                os.replace(new, self.path)
        except OSError as error:
            _warn_once(str(self.path.parent), str(error))


@lru_cache
def _warn_once(folder: str, error: str) -> None:
    print_log(
        f'images are checked anew at each start, as nothing can be kept in {folder!r} ({error}): '
        'set MMSEG_U2PL_CACHE to a folder that can be written',
        'current',
        logging.WARNING,
    )
