"""Watch pseudo-labels during training: numbers, pictures and an alarm at each validation."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from ..contact_sheet import Column, display_images, ending, pseudo_label_column, pseudo_label_sheet
from ..datasets import prediction
from ..datasets.semi_dataset import seeded
from ..functional import IGNORE, entropy_map, hard_labels, nearest, widest
from ..models import SemiSegmentor
from ..models.parts.memory_bank import bank_buffers
from ..models.segmentors.batch import PseudoLabels
from .collapse import CollapseAlarm, Labeled
from .segmentor import segmentor

WATCHED = 16
"""Unlabeled images whose pseudo-labels are counted."""
PIXELS = 2**20
"""That are labeled at a time."""
BINS, STEP = 15, 4
"""Of the calibration error: bins of confidence, and pixels from one that counts to the next."""


@HOOKS.register_module()
class WatchHook(Hook):
    """At each validation, look at the pseudo-labels of the same few unlabeled images.

    The visualizer gets numbers and, with ``draw``, a picture ``pseudo_labels``. Of each network that
    labels: ``watch/NAME/kept`` (share of the pixels), ``entropy`` (mean, as a share of ln C),
    ``agreement`` (share of the pixels that the student, or the other network, labels alike), and the
    share of each class among all and among the kept pseudo-labels. ``watch/ECE``: the expected
    calibration error on every 16th pixel of the validation images, in [0, 1] (Guo et al., ICML 2017).

    After the warm-up, :class:`CollapseAlarm` warns in the log. Training steps are not touched; a run
    is the same, bit by bit, without the hook. Other models than a ``SemiSegmentor`` are left alone.

    Args:
        draw: Images to draw, of the ``WATCHED`` that are counted.
        masks: Folder of the ground truth of the unlabeled images, below their ``data_root``, for
            ``accuracy``, ``kept_accuracy`` and a picture of errors. Never for training.

    Raises:
        FileNotFoundError: Before training, an unlabeled image has no mask in the folder.
    """

    def __init__(self, draw: int = 0, masks: str | None = None) -> None:
        self.draw, self.masks = draw, masks
        self._images: Any = None
        self._failed = False
        self._calibration = torch.zeros((2, BINS), dtype=torch.float64)

    def before_train(self, runner: Runner) -> None:
        """Find the images."""
        if not isinstance(segmentor(runner), SemiSegmentor) or 'train_dataloader' not in runner.cfg:
            return
        dataset = runner.train_dataloader.dataset
        cfg = ConfigDict(runner.cfg.items())
        if pipeline := (cfg.get('val_dataloader') or {}).get('dataset', {}).get('pipeline'):
            cfg.test_pipeline = pipeline  # as the network is scored
        if self.masks:
            self._images = prediction.unlabeled_images(cfg, self.masks)
        else:
            self._images = prediction.WithoutMasks(dataset.unlabeled, cfg)
        classes = dataset.metainfo['classes']
        self._alarm = CollapseAlarm(classes, dataset.labels.counts[: len(classes)])

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count how sure and how right the network that predicts is."""
        for sample in outputs or () if self._images is not None else ():
            if 'gt_sem_seg' in sample and 'seg_logits' in sample:
                truth = sample.gt_sem_seg.data[0, ::STEP, ::STEP]
                self._calibration += calibration(sample.seg_logits.data[:, ::STEP, ::STEP], truth)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Look, log, draw and warn."""
        if self._images is None:
            return
        all_reduce(self._calibration)
        error, pixels = self._calibration.abs().sum(1).tolist()
        runner.message_hub.update_scalar('val/watch/ECE', error / max(1, pixels))
        self._calibration.zero_()
        if is_main_process() and not self._failed:
            try:
                with seeded(0), torch.no_grad():
                    self._watch(runner, metrics or {})
            except Exception as failure:  # a diagnosis ends no training
                what = f'{type(failure).__name__}: {failure}'
                runner.logger.warning(f'pseudo-labels are not watched: {what}')
                self._failed = True

    def _watch(self, runner: Runner, metrics: dict[str, float]) -> None:
        model, images = segmentor(runner), self._images
        chosen = prediction.spread(WATCHED, len(images))
        drawn = [chosen[index] for index in prediction.spread(self.draw, len(chosen)) if self.draw]
        chosen = drawn + [index for index in chosen if index not in drawn]
        height, width = images[chosen[0]]['inputs'].shape[1:]
        per_batch = prediction.unlabeled_per_batch(runner.cfg)
        size = max(1, min(per_batch, PIXELS // (height * width)))
        sums: dict[str, Counter] = {}
        columns: list[Column] = []
        for group in prediction.batches(images, chosen, size):
            inputs, found = model.label_samples(group)
            label, truth = next(iter(found.values())).label, None
            samples = [sample['data_samples'] for sample in group]
            if self.masks:
                maps = torch.cat([sample.gt_sem_seg.data for sample in samples])
                truth = nearest(maps.to(label.device), label.shape[1:])
            agreement = _agreement(model, inputs, found)
            for name, labels in found.items():
                sums.setdefault(name, Counter()).update(_counts(labels, truth) | agreement)
            left = len(drawn) - len(columns)
            if left:
                pictures = display_images(inputs, model.data_preprocessor)
            for index, sample in enumerate(samples[:left]):
                picture = pictures[index, : label.shape[1], : label.shape[2]]
                title = ending(Path(sample.img_path).stem)
                columns.append(pseudo_label_column(title, picture, found, truth, index))
        if drawn:
            sheet = pseudo_label_sheet(columns, runner.train_dataloader.dataset.metainfo)
            runner.visualizer.add_image('pseudo_labels', sheet, step=runner.iter)
        labeled = {name: self._log(runner, name, counts) for name, counts in sums.items()}
        if not model.in_warmup:
            counts = (b for name, b in bank_buffers(model).items() if name.endswith('.count'))
            bank = next((count.cpu().numpy() for count in counts), None)
            for text in self._alarm.update(runner.iter, labeled, metrics, bank):
                runner.logger.warning(f'{text}. What to look at: docs/faq.md')

    def _log(self, runner: Runner, name: str, counts: dict[str, Any]) -> Labeled:
        """Log what was counted of a network's labels."""
        found = {key: np.array(value.tolist()) for key, value in counts.items()}
        labels, kept = found.pop('labels'), found.pop('kept_labels')
        scalars = {key: float(part / max(1, of)) for key, (part, of) in found.items()}
        for key, value in scalars.items():
            runner.message_hub.update_scalar(f'val/watch/{name}/{key}', value)
        by_class = {
            f'watch/{name}/{part}/{title}': float(share)
            for part, pixels in (('labels', labels), ('kept', kept))
            for title, share in zip(self._alarm.classes, pixels / max(1, pixels.sum()), strict=True)
        }
        runner.visualizer.add_scalars(by_class, step=runner.iter)
        return Labeled(labels / labels.sum(), kept / labels.sum(), scalars['entropy'])


def _counts(labels: PseudoLabels, truth: Tensor | None) -> dict[str, Tensor]:
    """Pixels of each class (C,), of all labels and of the kept; the others are sums, and of what."""
    label, keep, prob = labels
    classes = prob.shape[1]
    everywhere = torch.ones_like(keep)
    found = dict(
        labels=torch.bincount(label.flatten(), minlength=classes),
        kept_labels=torch.bincount(label[keep], minlength=classes),
        kept=_sums(keep, everywhere),
        entropy=_sums(entropy_map(prob) / math.log(classes), everywhere),
    )
    if truth is not None:
        known, right = truth != IGNORE, truth == label
        found['accuracy'] = _sums(right, known)
        found['kept_accuracy'] = _sums(right & keep, known & keep)
    return found


def _agreement(model: Any, inputs: Tensor, found: dict[str, PseudoLabels]) -> dict[str, Tensor]:
    """Pixels that teacher and student, or two networks that label, predict alike."""
    first, *others = (labels.prob.argmax(1) for labels in found.values())
    if model.teacher is not None:
        logits = model.decode_head(model.extract_feat(inputs))
        student = hard_labels(logits, inputs.shape[2:], model.align_corners)
        others.append(student[:, : first.shape[1], : first.shape[2]])
    alike = [first == other for other in others]
    return dict(agreement=_sums(alike[0], torch.ones_like(alike[0]))) if alike else {}


def _sums(part: Tensor, of: Tensor) -> Tensor:
    return torch.stack([each.sum(dtype=widest(each)) for each in (part, of)])


def calibration(logits: Tensor, truth: Tensor) -> Tensor:
    """Confidence less correctness, and pixels, summed in each bin of confidence: (2, BINS).

    Args:
        logits: (C, H, W).
        truth: (H, W); 255 is not counted, nor are logits that are not finite.
    """
    known = (truth != IGNORE) & logits.isfinite().all(0)
    confidence, label = (maps[known] for maps in logits.float().softmax(0).max(0))
    difference = confidence - (label == truth[known]).float()
    values = torch.stack((difference, torch.ones_like(difference))).cpu().double()
    bins = (confidence * BINS).long().clamp(max=BINS - 1).cpu()
    return torch.zeros((2, BINS), dtype=torch.float64).index_add_(1, bins, values)
