"""Accuracy of the regions that RRN's discriminators accept, and of the rest.

A diagnosis against hidden masks; nothing in training reads them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from rich.table import Table
from torch import Tensor

from .functional import cutmix_pair_masks, mix_pairs, region_share, upcast
from .models.segmentors.rrn import RRN, SELECTIONS
from .models.segmentors.semi import IGNORE
from .pseudo_label_quality import load_at_iteration


class RegionQuality:
    """Counts of right pixels inside and outside the accepted regions; images stream through."""

    def __init__(self) -> None:
        # who accepts (own, crossed, both) × rejected and accepted × wrong and right
        self.counts = torch.zeros((len(SELECTIONS), 2, 2), dtype=torch.long)
        # own and crossed: score, right pixels and labeled pixels of every region
        self.regions: tuple[list[Tensor], list[Tensor]] = ([], [])

    def update(self, label: Tensor, truth: Tensor, votes: Tensor, scores: Sequence[Tensor]) -> None:
        """Count a batch of one network.

        Args:
            label: Its labels (B, H, W), long.
            truth: True labels (B, H, W), integer; pixels of 255 count nowhere.
            votes: Accepted by its own discriminator, the other, both: (3, B, H, W) in {0, 1}.
            scores: Of its own discriminator and of the other, (B, 1, R, R) each.
        """
        valid, right = truth != IGNORE, label == truth
        for row, accepted in enumerate(votes.bool()):
            cell = (accepted[valid].long() * 2 + right[valid]).flatten()
            self.counts[row] += torch.bincount(cell, minlength=4).view(2, 2).cpu()
        for kept, score in zip(self.regions, scores, strict=True):
            share, count = region_share(right, valid, score.shape[2:])
            kept.append(torch.stack((upcast(score), share * count, count)).flatten(1).cpu())

    def overall(self) -> dict[str, float]:
        """All numbers, in [0, 1]; NaN where there is nothing to divide by.

        For each of ``own``, ``crossed`` and ``both``: ``<who>_share`` of the pixels accepted,
        the accuracy of the ``<who>_accepted`` and of the ``<who>_rest``. For own and crossed the
        same at any threshold: the accuracy of the ``<who>_upper`` half of all regions by their
        score, and of the ``<who>_lower``.
        """
        counts = self.counts.double()
        result = {'accuracy': float(counts[0, :, 1].sum() / counts[0].sum())}
        for name, (rest, accepted) in zip(SELECTIONS, counts, strict=True):
            result[f'{name}_share'] = float(accepted.sum() / (accepted + rest).sum())
            result[f'{name}_accepted'] = float(accepted[1] / accepted.sum())
            result[f'{name}_rest'] = float(rest[1] / rest.sum())
        for name, kept in zip(SELECTIONS, self.regions, strict=False):
            score, right, count = torch.cat([torch.empty((3, 0)), *kept], dim=1).double()
            score, right, count = (values[count > 0] for values in (score, right, count))
            order = score.argsort(stable=True)
            lower, upper = order[: len(order) // 2], order[(len(order) + 1) // 2 :]
            for half, members in (('upper', upper), ('lower', lower)):
                result[f'{name}_{half}'] = float(right[members].sum() / count[members].sum())
        return result


class RegionMeasurement(NamedTuple):
    """What one checkpoint's selection is worth."""

    name: str  # file name of the checkpoint
    iteration: int
    quality: RegionQuality


def crops_with_masks(cfg: Config) -> Config:
    """A copy of a training config whose test images are the unlabeled stream's crops.

    They come with masks, and without ``cat_max_ratio``, which would choose crops by their masks.
    """
    cfg = copy.deepcopy(cfg)
    pipeline = []
    for step in cfg.train_dataloader.dataset.unlabeled.pipeline:
        own = {key: value for key, value in step.items() if key != 'cat_max_ratio'}
        pipeline.append(dict(type='LoadAnnotations') if own['type'] == 'AddValidityMap' else own)
    cfg.test_dataloader.dataset.pipeline = pipeline
    return cfg


def load_rrn(model: Any, path: str | Path) -> int:
    """Load a checkpoint; its iteration.

    Raises:
        ValueError: The model has no discriminators, or the checkpoint no iteration.
    """
    if not isinstance(model, RRN):
        raise ValueError(
            f"{type(model).__name__} selects no regions: give a config with model.type='RRN'"
        )
    iteration = load_at_iteration(model, path)
    model.eval()
    return iteration


@torch.no_grad()
def measure_regions(
    model: RRN, groups: Iterable[list[dict]], generator: torch.Generator | None = None
) -> RegionQuality:
    """Mix pairs of crops as in training, select, and compare with the equally mixed masks.

    The labels are those that the selected regions teach: argmax P_k, and with ``target='cross'``
    Y_k. Networks and discriminators are in evaluation mode.

    Args:
        model: Loaded by :func:`load_rrn`.
        groups: Samples with masks; of each the first half are the u_0, the rest the u_1. A last
            one without a partner is left out.
        generator: Source of the boxes' randomness.

    Returns:
        The counts of both networks over all groups.
    """
    quality = RegionQuality()
    for group in groups:
        pairs = len(group) // 2
        if not pairs:
            continue
        data = {key: [s[key] for s in group[: 2 * pairs]] for key in ('inputs', 'data_samples')}
        data = model.data_preprocessor(data, True)  # pads to the crop size
        images = data['inputs']
        masks = cutmix_pair_masks(pairs, *images.shape[2:], generator=generator).to(images.device)
        truth = mix_pairs(masks, torch.cat([s.gt_sem_seg.data for s in data['data_samples']]))
        mixed = mix_pairs(masks, images)
        low = [network.decode_head(network.extract_feat(mixed)) for network in model.networks]
        logits = [model.upsample(own, mixed.shape[2:]) for own in low]
        scores = model.scores([own.softmax(1) for own in logits], mixed)
        for k, network in enumerate(model.networks):
            if model.target == 'self':
                label = logits[k].argmax(1)
            else:
                label = mix_pairs(masks, model.labels(network, images))
            votes = model.votes(k, scores, truth.shape[1:])
            quality.update(label, truth, votes, (scores[k, k], scores[1 - k, k]))
    return quality


def region_table(measurements: Sequence[RegionMeasurement]) -> Table:
    """Three rows a checkpoint, in percent; green where the accepted are more accurate."""
    table = Table(
        title='Accuracy of the accepted regions against the rest, %',
        title_style='bold',
        caption='share: accepted pixels · upper, lower: the half of the regions with the higher '
        'and lower scores',
    )
    for column in (
        'iteration',
        'all',
        'accepted by',
        'share',
        'accepted',
        'rest',
        'upper',
        'lower',
    ):
        table.add_column(column, justify='left' if column == 'accepted by' else 'right')
    for measurement in measurements:
        overall = measurement.quality.overall()
        first = [str(measurement.iteration), _percent(overall['accuracy'])]
        for name in SELECTIONS:
            cells = [name, _percent(overall[f'{name}_share'])]
            cells += _compared(overall[f'{name}_accepted'], overall[f'{name}_rest'])
            if name != 'both':  # two scores have no one order
                cells += _compared(overall[f'{name}_upper'], overall[f'{name}_lower'])
            table.add_row(*first, *cells)
            first = ['', '']
        table.add_section()
    return table


def _compared(better: float, worse: float) -> tuple[str, str]:
    color = 'green' if better > worse else 'red' if better < worse else None
    first = _percent(better)
    return (f'[{color}]{first}[/]' if color else first), _percent(worse)


def _percent(share: float) -> str:
    return '–' if share != share else f'{100 * share:.1f}'
