"""Images a second of each stream's pipeline, and what of it could be spared."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS
from rich.table import Table

from ..datasets.checks import check_dataset_config
from ..datasets.semi_dataset import seeded
from .measure import Stopwatch, medians

SEPARATOR = '|'
COLOR = 'PhotoMetricDistortion'
"""It looks at each pixel alone: the fewer pixels, the cheaper."""


class StreamTiming(NamedTuple):
    """Milliseconds an image, medians over rounds."""

    stream: str
    decode: float  # LoadImageFromFile alone
    transforms: Mapping[str, float]  # each step of the pipeline, in order
    variants: Mapping[str, float]  # pipelines that do the same with less work
    half: float  # decoding to half the size alone
    half_share: float  # of random scales for which half the size is enough

    @property
    def total(self) -> float:
        """The whole pipeline."""
        return sum(self.transforms.values())


def streams(cfg: Config) -> dict[str, Any]:
    """The training data sets by stream; ``labeled`` alone without a ``SemiDataset``.

    Raises:
        FileNotFoundError: A folder or list is missing.
        ValueError: The config has no training data.
    """
    if not cfg.get('train_dataloader'):
        raise ValueError('the config has no train_dataloader')
    where = 'train_dataloader.dataset'
    config = cfg.train_dataloader.dataset
    parts = {'labeled': config}
    if config.type == 'SemiDataset':
        parts = {name: config[name] for name in ('labeled', 'unlabeled') if config.get(name)}
        where += '.{}'
    for name, part in parts.items():
        if 'data_prefix' in part:
            check_dataset_config(part, where.format(name))
    return {name: DATASETS.build(part) for name, part in parts.items()}


def measure_stream(stream: str, dataset: Any, images: int, rounds: int) -> StreamTiming:
    """Time the pipeline on the same images, round after round, beside what it is compared with.

    A round is a pass over all images with the augmentation seeds of the round before, so that
    rounds differ in nothing but the machine; the first one fills the file cache.

    Args:
        stream: Its name.
        dataset: An mmseg data set.
        images: How many, spread over the data set.
        rounds: Rounds that count.

    Raises:
        ValueError: The pipeline does not begin with ``LoadImageFromFile``.
    """
    transforms = list(dataset.pipeline.transforms)
    if not transforms or type(transforms[0]).__name__ != 'LoadImageFromFile':
        raise ValueError(f'{stream}: the pipeline must begin with LoadImageFromFile')
    pipelines = {'own': transforms, **variants(transforms)}
    spread = np.linspace(0, len(dataset) - 1, min(images, len(dataset))).round().astype(int)
    infos = [dataset.get_data_info(int(index)) for index in spread]
    watch = Stopwatch('cpu')
    records = []
    for _ in range(1 + rounds):
        for seed, info in enumerate(infos):
            for name, pipeline in pipelines.items():
                with seeded(seed):
                    run(pipeline, info, name, watch)
            with watch.part('decode'):
                decoded = transforms[0](dict(info))
            info['shape'] = decoded['img'].shape[:2]
            with watch.part('half'):
                decode_half(info['img_path'])
        records.append({name: time / len(infos) for name, time in watch.take().items()})
    times = medians(records[1:])
    steps = {
        name: {
            part.removeprefix(name + SEPARATOR): time
            for part, time in times.items()
            if part.startswith(name + SEPARATOR)
        }
        for name in pipelines
    }
    return StreamTiming(
        stream,
        times['decode'],
        steps.pop('own'),
        {name: sum(own.values()) for name, own in steps.items()},
        times['half'],
        float(np.mean([half_share(transforms, info['shape']) for info in infos])),
    )


def run(transforms: Sequence[Any], info: dict, pipeline: str, watch: Stopwatch) -> None:
    """One image through a pipeline, each transform a part."""
    data: Any = dict(info, seg_fields=[])
    for position, transform in enumerate(transforms, 1):
        with watch.part(f'{pipeline}{SEPARATOR}{position} {type(transform).__name__}'):
            data = transform(data)


def variants(transforms: Sequence[Any]) -> dict[str, list[Any]]:
    """Pipelines that give images of the same distribution, or nearly so, with less work."""
    names = [type(own).__name__ for own in transforms]
    if 'RandomCrop' not in names:
        return {}
    found = {}
    place = names.index('RandomCrop')
    crop = transforms[place]
    if COLOR in names[:place]:
        color = transforms[names.index(COLOR)]
        rest = [own for own in transforms if own is not color]
        behind = rest.index(crop) + 1
        found['color after the crop'] = [*rest[:behind], color, *rest[behind:]]
    if 'AddValidityMap' in names and crop.cat_max_ratio < 1:
        # the map has one class, so no crop passes: ten are tried and the last is as good
        free = copy.copy(crop)
        free.cat_max_ratio = 1.0
        found['crop without cat_max_ratio'] = [free if own is crop else own for own in transforms]
    return found


def decode_half(path: str) -> None:
    """Decode to half the size; JPEG can leave the finest frequencies undecoded."""
    cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_REDUCED_COLOR_2)


def half_share(transforms: Sequence[Any], shape: tuple[int, int]) -> float:
    """Share of the random scales of ``RandomResize`` that are at most half of the image (h, w)."""
    for own in transforms:
        if type(own).__name__ == 'RandomResize' and own.ratio_range is not None:
            long, short = max(own.scale), min(own.scale)
            factor = min(long / max(shape), short / min(shape))
            low, high = own.ratio_range
            return float(np.clip((0.5 / factor - low) / max(high - low, 1e-9), 0, 1))
    return 0.0


def stream_table(timing: StreamTiming) -> Table:
    """Milliseconds and share of each transform, and what could be spared."""
    table = Table(title=f'{timing.stream} stream, one process', title_style='bold')
    table.add_column('an image')
    for name in ('ms', 'share', 'images/s'):
        table.add_column(name, justify='right')
    for name, time in timing.transforms.items():
        table.add_row(name, f'{time:.2f}', f'{time / timing.total:.0%}', '')
    table.add_section()

    def row(name: str, time: float, style: str = '') -> None:
        table.add_row(
            name, f'{time:.2f}', f'{time / timing.total:.0%}', f'{1e3 / time:.0f}', style=style
        )

    row('pipeline', timing.total, 'bold')
    row('decoding alone', timing.decode)
    table.add_section()
    for name, time in timing.variants.items():
        row(name, time)
    if timing.half_share > 0:
        spared = timing.half_share * (timing.decode - timing.half)
        row(f'half-size decoding for {timing.half_share:.0%} of scales', timing.total - spared)
    return table


def mean_time(timings: Iterable[StreamTiming], ratio: Sequence[int]) -> float:
    """Milliseconds an image of a batch with ``ratio`` labeled and unlabeled ones."""
    timings = list(timings)
    weights = list(ratio)[: len(timings)]
    pairs = zip(weights, timings, strict=True)
    return sum(weight * own.total for weight, own in pairs) / sum(weights)


def projection(time: float, workers: int, needed: float | None) -> str:
    """What the workers bring against what training takes, as text.

    Args:
        time: Of an image in one process, milliseconds.
        workers: Processes of the data loader.
        needed: Images that training takes a second; None if not known.
    """
    brought = workers * 1e3 / time
    text = f'{workers} workers on cores of their own: at most {brought:.0f} images/s'
    if needed is None:
        return f'{text}. --step-ms or --images-per-second compares with a training step'
    verdict = 'loading is not what a step waits for' if brought > needed else 'a step waits'
    return f'{text}, a step takes {needed:.0f}: {brought / needed:.1f} times that, {verdict}'
