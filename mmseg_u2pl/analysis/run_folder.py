"""What the work dir of a training says: how far it is, and what it measured.

The folder alone tells, so a run that was killed, or started by hand, is read like any other::

    WORK_DIR/TIME/vis_data/{config.py,scalars.json}   one TIME for each start
    WORK_DIR/{iter_N.pth,best_KEY_iter_N.pth}
    WORK_DIR/{test,test_best}/TIME/TIME.json          of tools/test.py
"""

import math
import threading
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..engine.checkpoints import read_log
from .report import (
    newest_metrics,
    predictors_of,
    read_test_metrics,
    scores_of,
    training_starts,
)

ONE_NETWORK = 'network'
"""Name of the predictor of a run whose metrics have no prefix."""

Scores = dict[str, dict[str, float]]
"""By predictor: IoU by class, then ``'mIoU'``, percent."""


def scores_by_predictor(metrics: dict[str, Any]) -> Scores:
    """Metrics of a validation or test, of every network that it scored."""
    return {
        name or ONE_NETWORK: {k: round(v, 2) for k, v in scores_of(metrics, name).items()}
        for name in predictors_of(metrics)
    }


_PARSING = threading.Lock()  # syntax trees of Python 3.11 mix up the depths of two threads


def read_config(path: Path) -> Config:
    """A dumped config; several threads may read some at once."""
    with _PARSING:
        return Config.fromfile(path, import_custom_modules=False)


class RunFolder:
    """A work dir of ``tools/train.py``, as it is when the object is made."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @cached_property
    def config(self) -> Config | None:
        """The resolved config of the training's last start, or of a test; None before the first."""
        dumps = sorted(self.path.glob('*/vis_data/config.py'))
        starts = training_starts(self.path)
        trained = [path for path in dumps if path.parents[1].name in starts[-1:]]
        return read_config((trained or dumps)[-1]) if dumps else None

    @property
    def seed(self) -> int | None:
        """``randomness.seed`` of the config; None: it has none."""
        return (self.config or {}).get('randomness', {}).get('seed')

    @cached_property
    def logged(self) -> list[dict[str, Any]]:
        """Lines of the logs since training last started at iteration 0, in the order of writing."""
        lines: list[dict[str, Any]] = []
        first = ''
        for time in reversed(training_starts(self.path)):
            first, dump = time, self.path / time / 'vis_data/config.py'
            if not read_config(dump).get('resume'):
                break
        for path in sorted(self.path.glob('*/vis_data/scalars.json')):
            if path.parents[1].name < first:
                continue
            lines += read_log(path)
        return lines

    @property
    def iteration(self) -> int:
        """Of the last line of the logs."""
        return self.logged[-1]['step'] if self.logged else 0

    @cached_property
    def validations(self) -> dict[int, dict[str, Any]]:
        """Metrics by iteration. What was repeated after a kill counts as repeated."""
        found = {line['step']: line for line in self.logged if predictors_of(line)}
        return dict(sorted(found.items()))

    def minutes(self) -> float:
        """Of training, validations left out: each line has the mean time since the one before."""
        times = {line['step']: line['time'] for line in self.logged if 'loss' in line}
        steps = sorted(times)
        lengths = [step - before for before, step in zip([0, *steps], steps, strict=False)]
        return sum(n * times[step] for n, step in zip(lengths, steps, strict=True)) / 60

    # ---------------------------------------------------------------- checkpoints
    def checkpoint(self, iteration: int, prefix: str = '') -> Path | None:
        """A checkpoint; None if it is missing or was cut off."""
        path = self.path / f'{prefix}iter_{iteration}.pth'
        return path if zipfile.is_zipfile(path) else None  # a zip ends with its contents

    def best(self, until: float = math.inf) -> tuple[str, int] | None:
        """``save_best``, or the first of several, and the iteration with the best score.

        None where nothing is kept.
        """
        if self.config is None:
            return None
        kept = self.config.default_hooks.checkpoint
        key, rule = (
            value[0] if isinstance(value, list | tuple) else value
            for value in (kept.get('save_best'), kept.get('rule'))
        )
        scores = {n: m[key] for n, m in self.validations.items() if n <= until and key in m}
        choose = min if rule == 'less' else max
        return (str(key), choose(scores, key=lambda n: scores[n])) if scores else None

    def best_checkpoint(self, until: float = math.inf) -> Path | None:
        """That of :meth:`best`."""
        if (best := self.best(until)) is None:
            return None
        key, iteration = best
        return self.checkpoint(iteration, f'best_{key.replace("/", "_")}_')

    def is_complete(self, iteration: int) -> bool:
        """Whether all that belongs to an iteration was written, not its checkpoint alone.

        The order is: checkpoint, validation, best checkpoint.
        """
        if self.config is None or self.checkpoint(iteration) is None:
            return False
        interval, last = (self.config.train_cfg.get(k) for k in ('val_interval', 'max_iters'))
        due = self.config.get('val_cfg') and (iteration % (interval or 1) == 0 or iteration == last)
        if due and iteration not in self.validations:
            return False
        best = self.best(iteration)
        # one of an earlier iteration was written long ago, and may have been moved
        return best is None or best[1] != iteration or self.best_checkpoint() is not None

    def is_trained(self) -> bool:
        """Whether the training has finished."""
        return self.config is not None and self.is_complete(self.config.train_cfg.max_iters)

    def resume_point(self) -> Path | None:
        """The checkpoint from which ``tools/train.py --resume`` continues, the newest.

        One that is not complete is removed: training repeats what led to it, and its validation.
        """
        saved = sorted((int(p.stem[5:]) for p in self.path.glob('iter_*.pth')), reverse=True)
        if saved and not self.is_complete(saved[0]):
            (self.path / f'iter_{saved.pop(0)}.pth').unlink()
        return next(filter(None, map(self.checkpoint, saved)), None)

    # ---------------------------------------------------------------- results
    def checkpoint_of(self, test: str) -> Path | None:
        """What ``'test'`` or ``'test_best'`` scores; None if there is no best beside the last."""
        assert self.config is not None
        last = self.config.train_cfg.max_iters
        if test == 'test':
            return self.checkpoint(last)
        best = self.best()
        return None if best is None or best[1] == last else self.best_checkpoint()

    def tested(self, test: str) -> dict[str, Any] | None:
        """Metrics of the newest test in a folder; None if it scored no :meth:`checkpoint_of`.

        A test before the last start of the training does not count.
        """
        try:
            metrics = read_test_metrics(self.path / test)
        except (OSError, ValueError):  # none, cut off, or of an earlier training
            return None
        dump = newest_metrics(self.path / test).parent / 'vis_data/config.py'
        used = read_config(dump).load_from
        checkpoint = self.checkpoint_of(test)
        return metrics if checkpoint and Path(used).name == checkpoint.name else None

    def results(self) -> dict[str, Any]:
        """What the run measured; scores in percent.

        Returns:
            ``iterations``; ``minutes`` of training; ``predictor`` that counts; ``val``, one entry a
            validation with its ``iteration`` and :data:`Scores`; ``test``, Scores of the last
            checkpoint; ``best`` with ``key``, ``iteration``, ``val`` and ``test`` (None if that
            checkpoint was not tested); ``protocol`` and ``scored_on`` of the test.

        Raises:
            ValueError: Training or test has not finished.
        """
        if self.config is None or not self.is_trained():
            raise ValueError(f'{str(self.path)!r}: the training has not finished')
        if (metrics := self.tested('test')) is None:
            raise ValueError(
                f'{str(self.path)!r}: the last checkpoint was not tested, or was trained since: test it by '
                f'tools/test.py CONFIG {self.path}/iter_{self.config.train_cfg.max_iters}.pth --work-dir '
                f'{self.path}/test'
            )
        test = scores_by_predictor(metrics)
        curve = {n: scores_by_predictor(m) for n, m in self.validations.items()}
        best: dict[str, Any] | None = None
        if (found := self.best()) is not None:
            key, iteration = found
            other = self.tested('test_best')
            of_best = scores_by_predictor(other) if other else None
            if iteration == self.config.train_cfg.max_iters:
                of_best = test
            best = dict(key=key, iteration=iteration, val=curve[iteration], test=of_best)
        predictor = self.config.model.get('predictor')
        return dict(
            iterations=self.config.train_cfg.max_iters,
            minutes=round(self.minutes(), 1),
            predictor=predictor if predictor in test else next(iter(test)),
            val=[dict(iteration=n, scores=scores) for n, scores in curve.items()],
            test=test,
            best=best,
            protocol=metrics.get('protocol'),
            scored_on=metrics.get('scored_on'),
        )
