"""Watch pseudo-labels during training: numbers, pictures and an alarm at each validation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ..contact_sheet import SheetRow, display_images, draw_columns, pseudo_label_columns
from ..datasets.prediction import (
    WithoutMasks,
    batches,
    spread,
    unlabeled_images,
    unlabeled_per_batch,
)
from ..datasets.semi_dataset import seeded
from ..functional import IGNORE, entropy_map, hard_labels, nearest
from ..models import SemiSegmentor
from ..models.parts.memory_bank import MemoryBank
from ..models.segmentors.batch import PseudoLabels
from .checks import segmentor
from .collapse import CollapseAlarm, Labeled

WATCHED = 16
"""Unlabeled images whose pseudo-labels are counted."""
PIXELS = 2**20
"""That are labeled at a time."""
BINS, STEP = 15, 4
"""Of the calibration error: bins of confidence, and pixels from one that counts to the next."""


@HOOKS.register_module()
class WatchHook(Hook):
    """At each validation, look at the pseudo-labels of the same few unlabeled images.

    The visualizer gets numbers and, with ``draw``, a picture ``pseudo_labels``. Of each network that labels:
    ``watch/NAME/kept`` (share of the pixels), ``watch/NAME/entropy`` (mean, as a share of ln C),
    ``watch/NAME/agreement`` (share of the pixels that the student, or the other network, labels
    alike), and of each class its share of all pseudo-labels and of the kept ones. ``watch/ECE``: the expected calibration error on the
    validation images (Guo et al., ICML 2017; 15 bins, every 16th pixel), in [0, 1].

    After the warm-up, :class:`CollapseAlarm` warns in the log. Training steps are not touched; a run
    is the same, bit by bit, without the hook. Other models than a ``SemiSegmentor`` are left alone.

    Args:
        draw: Images to draw, of the ``WATCHED`` that are counted.
        masks: Folder of the ground truth of the unlabeled images, below their ``data_root``, for
            ``watch/NAME/accuracy`` and ``kept_accuracy``, and a picture of errors. Never for training.

    Raises:
        FileNotFoundError: Before training, an unlabeled image has no mask in the folder.
    """

    def __init__(self, draw: int = 0, masks: str | None = None) -> None:
        self.draw, self.masks = draw, masks
        self._images: Any = None

    def before_train(self, runner: Runner) -> None:
        """Find the images."""
        if not isinstance(segmentor(runner), SemiSegmentor):
            return
        dataset = runner.train_dataloader.dataset
        if self.masks:
            self._images = unlabeled_images(runner.cfg, self.masks)
        else:
            self._images = WithoutMasks(dataset.unlabeled, runner.cfg)
        classes = dataset.metainfo['classes']
        self._alarm = CollapseAlarm(classes, dataset.labels.counts[: len(classes)])
        self._calibration: Tensor | float = 0.0

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Count how sure and how right the network that predicts is."""
        if self._images is not None:
            for sample in outputs or ():
                if 'gt_sem_seg' in sample and 'seg_logits' in sample:
                    truth = sample.gt_sem_seg.data[0, ::STEP, ::STEP]
                    logits = sample.seg_logits.data[:, ::STEP, ::STEP]
                    self._calibration = self._calibration + calibration_sums(logits, truth)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Look, log, draw and warn."""
        if self._images is None:
            return
        sums = self._calibration
        if isinstance(sums, Tensor):
            all_reduce(sums)
            runner.message_hub.update_scalar('val/watch/ECE', calibration_error(sums))
        self._calibration = 0.0
        if is_main_process():
            try:
                with seeded(0), torch.no_grad():
                    self._watch(runner, metrics or {})
            except (NotImplementedError, torch.cuda.OutOfMemoryError) as error:
                runner.logger.warning(f'pseudo-labels are not watched: {error!r}')
                self._images = None

    def _watch(self, runner: Runner, metrics: dict[str, float]) -> None:
        model, images = segmentor(runner), self._images
        chosen = spread(WATCHED, len(images))
        drawn = [chosen[index] for index in spread(self.draw, len(chosen)) if self.draw]
        chosen = drawn + [index for index in chosen if index not in drawn]
        height, width = images[chosen[0]]['inputs'].shape[1:]
        size = max(1, min(unlabeled_per_batch(runner.cfg), PIXELS // (height * width)))
        sums: dict[str, Counter] = {}
        columns: list[list[SheetRow]] = []
        for group in batches(images, chosen, size):
            inputs, found = model.label_samples(group)
            truth = None
            if self.masks:
                maps = torch.cat([sample['data_samples'].gt_sem_seg.data for sample in group])
                label = next(iter(found.values())).label
                truth = nearest(maps.to(label.device), label.shape[1:])
            agreement = _agreement(model, inputs, found)
            for name, labels in found.items():
                sums.setdefault(name, Counter()).update(_counts(labels, truth) | agreement)
            if len(columns) < len(drawn):
                shown = display_images(inputs, model.data_preprocessor)
                names = [Path(sample['data_samples'].img_path).stem[-36:] for sample in group]
                columns += pseudo_label_columns(shown, names, found, truth)
        if drawn:
            meta = runner.train_dataloader.dataset.metainfo
            picture = draw_columns(columns[: len(drawn)], meta['classes'], meta['palette'])
            runner.visualizer.add_image('pseudo_labels', picture, step=runner.iter)
        labeled = {name: self._log(runner, name, counts) for name, counts in sums.items()}
        if not model.in_warmup:
            for text in self._alarm.update(runner.iter, labeled, metrics, _bank(model)):
                runner.logger.warning(f'{text}. What to look at: docs/faq.md')

    def _log(self, runner: Runner, name: str, counts: Mapping[str, Any]) -> Labeled:
        """Log what was counted of a network's labels."""
        found = {key: value.double().cpu().numpy() for key, value in counts.items()}
        pixels = found['labels'].sum()
        labeled = Labeled(
            found['labels'] / pixels, found['kept'] / pixels, float(found['entropy'] / pixels)
        )
        scalars = dict(kept=labeled.kept.sum(), entropy=labeled.entropy)
        if 'agreement' in found:
            scalars['agreement'] = found['agreement'] / pixels
        if 'truth' in found:
            scalars['accuracy'] = found['right'] / max(1, found['truth'])
            scalars['kept_accuracy'] = found['kept_right'] / max(1, found['kept_truth'])
        for key, value in scalars.items():
            runner.message_hub.update_scalar(f'val/watch/{name}/{key}', float(value))
        of_kept = found['kept'] / max(1, found['kept'].sum())
        by_class = {
            f'watch/{name}/{part}/{title}': float(share)
            for part, shares in (('labels', labeled.share), ('kept', of_kept))
            for title, share in zip(self._alarm.classes, shares, strict=True)
        }
        runner.visualizer.add_scalars(by_class, step=runner.iter)
        return labeled


def _counts(labels: PseudoLabels, truth: Tensor | None) -> dict[str, Tensor]:
    """Pixels of each class (C,), of all labels and of the kept, and sums over the pixels."""
    label, keep, prob = labels
    num_classes = prob.shape[1]
    found = dict(
        labels=torch.bincount(label.flatten(), minlength=num_classes),
        kept=torch.bincount(label[keep], minlength=num_classes),
        entropy=entropy_map(prob).sum() / math.log(num_classes),
    )
    if truth is not None:
        counted, right = truth != IGNORE, truth == label
        found.update(
            truth=counted.sum(), right=right.sum(),
            kept_truth=(counted & keep).sum(), kept_right=(right & keep).sum(),
        )  # fmt: skip
    return found


def _agreement(model: Any, inputs: Tensor, found: dict[str, PseudoLabels]) -> dict[str, Tensor]:
    """Pixels that teacher and student, or two networks that label, predict alike."""
    first, *others = (one.prob.argmax(1) for one in found.values())
    if model.teacher is not None:
        logits = model.decode_head(model.extract_feat(inputs))
        student = hard_labels(logits, inputs.shape[2:], model.align_corners)
        others.append(student[:, : first.shape[1], : first.shape[2]])
    return dict(agreement=(first == others[0]).sum()) if others else {}


def _bank(model: nn.Module) -> np.ndarray | None:
    """Keys of each class (C,) in the memory bank, if there is one."""
    banks = [module for module in model.modules() if isinstance(module, MemoryBank)]
    return banks[0].count.cpu().numpy() if banks else None


def calibration_sums(logits: Tensor, truth: Tensor) -> Tensor:
    """Sums over the pixels of each of ``BINS`` bins of confidence, (2, BINS).

    Args:
        logits: (C, H, W).
        truth: (H, W); 255 is not counted.

    Returns:
        Confidence less correctness, and the number of pixels.
    """
    counted = truth != IGNORE
    confidence, label = logits.float().softmax(0).max(0)
    difference = (confidence - (label == truth).float())[counted]
    bins = (confidence[counted] * BINS).long().clamp(max=BINS - 1)
    sums = logits.new_zeros((2, BINS), dtype=torch.float64)
    return sums.index_add_(1, bins, torch.stack((difference, torch.ones_like(difference))).double())


def calibration_error(sums: Tensor) -> float:
    """The expected calibration error Σ_b |Σ (confidence − correct)| / N of :func:`calibration_sums`."""
    return float(sums[0].abs().sum() / sums[1].sum().clamp(min=1))
