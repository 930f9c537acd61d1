"""Score every network of a method in one pass over the data."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop, ValLoop
from mmengine.runner.amp import autocast
from mmseg.registry import LOOPS

from .segmentor import segmentor


@contextmanager
def any_size() -> Iterator[None]:
    """Without ``cudnn_benchmark``: timing algorithms pays for crops of one size.

    Whole images have many sizes. A first validation of 145 images took 63 s with it and the next
    4 s (one H200, 13 trainings at once).
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


class _PredictorsLoop:
    """Score all of ``model.predictors`` (for U²PL teacher and student) on the same batches.

    Metrics are named ``<predictor>/<metric>`` and reach the hooks as one dict. Masks that a metric
    writes (``output_dir``), drawings and what hooks get are those of ``model.predictor``. A
    segmentor without ``predictors`` is scored as mmseg's loop does it.

    Arguments as in mmengine's loops.
    """

    phase: str
    runner: Runner
    dataloader: Any
    evaluator: Evaluator
    fp16: bool

    def __init__(self, runner: Runner, dataloader: Any, evaluator: Any, fp16: bool = False) -> None:
        super().__init__(runner, dataloader, copy.deepcopy(evaluator), fp16)  # type: ignore[call-arg]
        self.evaluators: dict[str, Evaluator] = {}
        for name in getattr(segmentor(runner), 'predictors', ()):
            if name == segmentor(runner).predictor:
                self.evaluators[name] = self.evaluator
            elif (metrics := _without_files(evaluator)) is not None:
                self.evaluators[name] = runner.build_evaluator(metrics)
                self.evaluators[name].dataset_meta = self.dataloader.dataset.metainfo

    @any_size()
    def run(self) -> dict:
        """One pass; returns the merged metrics."""
        if not self.evaluators:
            return super().run()  # type: ignore[misc]
        self._call('before_{}')
        self._call('before_{}_epoch')
        self.runner.model.eval()
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
        metrics = {}
        for name, evaluator in self.evaluators.items():
            self.runner.logger.info(f'{name}:')
            scores = evaluator.evaluate(len(self.dataloader.dataset))
            metrics.update({f'{name}/{key}': value for key, value in scores.items()})
        self._call('after_{}_epoch', metrics=metrics)
        self._call('after_{}')
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Predict one batch with every network."""
        if not self.evaluators:
            super().run_iter(idx, data_batch)  # type: ignore[misc]
            return
        self._call('before_{}_iter', batch_idx=idx, data_batch=data_batch)
        model = segmentor(self.runner)
        chosen, outputs = model.predictor, {}
        try:
            for name, evaluator in self.evaluators.items():
                model.predictor = name
                with autocast(enabled=self.fp16):
                    outputs[name] = self.runner.model.test_step(data_batch)
                evaluator.process(data_samples=outputs[name], data_batch=data_batch)
        finally:
            model.predictor = chosen
        self._call('after_{}_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs[chosen])

    def _call(self, hook: str, **arguments: Any) -> None:
        self.runner.call_hook(hook.format(self.phase), **arguments)


@LOOPS.register_module()
class PredictorsValLoop(_PredictorsLoop, ValLoop):
    """Validate all predictors of a method in one pass."""

    phase = 'val'


@LOOPS.register_module()
class PredictorsTestLoop(_PredictorsLoop, TestLoop):
    """Test all of a method's predictors in one pass.

    ``ClassIoUMetric``'s counts of each image go into ``per_image.npz`` beside the metrics, named
    ``<predictor>/intersect`` and so on.
    """

    phase = 'test'

    def run(self) -> dict:
        """One pass; returns the merged metrics."""
        metrics = super().run()
        counts = {}
        for name, evaluator in (self.evaluators or {'': self.evaluator}).items():
            for metric in evaluator.metrics:
                for key, value in (getattr(metric, 'per_image', None) or {}).items():
                    counts[f'{name}/{key}' if name else key] = value
        if counts:  # on the first rank
            np.savez_compressed(Path(self.runner.log_dir) / 'per_image.npz', **counts)
        return metrics


def _without_files(evaluator: Any) -> Any:
    """An evaluator without what writes masks; None if it does nothing but write.

    Args:
        evaluator: As a loop takes it: a config of a metric or an evaluator, built, or several.
    """
    if isinstance(evaluator, Evaluator):
        metrics = _without_files(evaluator.metrics)
        return metrics and Evaluator(metrics)
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        metrics = _without_files(evaluator['metrics'])
        return metrics and {**evaluator, 'metrics': metrics}
    several = isinstance(evaluator, Sequence)
    scoring = []
    for metric in copy.deepcopy(list(evaluator) if several else [evaluator]):
        is_config = isinstance(metric, dict)
        if metric.get('format_only') if is_config else getattr(metric, 'format_only', False):
            continue
        if is_config:
            metric.pop('output_dir', None)
        elif hasattr(metric, 'output_dir'):
            metric.output_dir = None
        scoring.append(metric)
    return scoring or None
