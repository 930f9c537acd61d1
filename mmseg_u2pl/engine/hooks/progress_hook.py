"""Tell the model where training stands, after checking that it can train at all."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ..checks import check_training


@HOOKS.register_module()
class SemiProgressHook(Hook):
    """Push t and T into the segmentor, and make every iteration's randomness its own.

    Before each iteration torch's generators are seeded from (seed, rank, iteration), so boxes,
    anchors and dropout after a resume are those of an uninterrupted run without saving a
    random state. Before training it checks data, model and settings against each other.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Refuse, with a remedy, what cannot work."""
        check_training(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Push the progress and seed the iteration."""
        segmentor(runner).set_progress(runner.iter, runner.max_iters)
        step = runner.iter * runner.world_size + runner.rank
        torch.manual_seed(((runner.seed or 0) * 2_147_483_647 + step) % 2**63)


def segmentor(runner: Runner) -> Any:
    """The model without a distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
