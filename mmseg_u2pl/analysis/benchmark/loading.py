"""Images a second of each stream's pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from rich.table import Table

from ...datasets.semi_dataset import seeded
from .measure import clock, medians, new_table

CPU = torch.device('cpu')


def streams(cfg: Config) -> dict[str, Any]:
    """The data sets of a training config's ``SemiDataset``: ``labeled``, and usually ``unlabeled``.

    Raises:
        FileNotFoundError: A folder or list is missing.
        ValueError: The config has no ``SemiDataset``.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset', {})
    if dataset.get('type') != 'SemiDataset':
        raise ValueError('the config has no train_dataloader with a SemiDataset')
    return DATASETS.build(dataset).parts


def measure_stream(dataset: Any, images: int, rounds: int) -> dict[str, float]:
    """Milliseconds an image of each step of the pipeline, medians over rounds.

    The images are spread over the data set. Augmentation is seeded, so that rounds differ in nothing
    but the machine. The first round fills the file cache and does not count.
    """
    spread = np.linspace(0, len(dataset) - 1, min(images, len(dataset))).round().astype(int)
    records: list[dict[str, float]] = []
    for _ in range(1 + rounds):
        record: dict[str, float] = {}
        for seed, index in enumerate(spread):
            data: Any = dataset.get_data_info(int(index))
            with seeded(seed):
                for place, transform in enumerate(dataset.pipeline.transforms, 1):
                    name, start = f'{place} {type(transform).__name__}', clock(CPU)
                    data = transform(data)
                    record[name] = record.get(name, 0.0) + (clock(CPU) - start) / len(spread)
        records.append(record)
    return medians(records[1:])


def stream_table(stream: str, times: dict[str, float]) -> Table:
    """Milliseconds and share of each transform."""
    total = sum(times.values())
    table = new_table(f'{stream} stream, one process', 'an image', 'ms', 'share')
    for name, time in times.items():
        table.add_row(name, f'{time:.2f}', f'{time / total:.0%}')
    table.add_section()
    table.add_row('pipeline', f'{total:.2f}', f'{1e3 / total:.0f} images/s', style='bold')
    return table
