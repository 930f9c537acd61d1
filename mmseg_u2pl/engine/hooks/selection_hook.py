"""Say when RRN selects no region any more."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from ..optim.adversarial import PART, JointOptimizer
from .progress_hook import segmentor


@HOOKS.register_module()
class SelectionHook(Hook):
    """Warn, once, when no discriminator accepted a region for a whole interval.

    A discriminator that wins rejects every prediction; L_ls and L_dr are 0 from then on, and RRN is
    CPS with feature matching, without a word. Before training the hook also checks that the
    discriminators have their own optimizer.

    Args:
        interval: Iterations without a selected region before the warning.

    Raises:
        ValueError: ``interval`` below 1; the discriminators have no optimizer of their own.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, interval: int = 100) -> None:
        if interval < 1:
            raise ValueError(f'SelectionHook: interval must be at least 1, got {interval}')
        self.interval = interval
        self.warned = False
        self._selected: Tensor | None = None
        self._steps = 0

    def before_train(self, runner: Runner) -> None:
        """Refuse one optimizer for all."""
        model = segmentor(runner)
        if not isinstance(runner.optim_wrapper.optimizer, JointOptimizer):
            raise ValueError(
                f'{type(model).__name__}.{PART} would be trained by the optimizer of the '
                'segmentation networks: set '
                "optim_wrapper.constructor='AdversarialOptimWrapperConstructor'"
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add up on the device; read at the interval."""
        shares = [outputs.get(f'semi/selected_{name}') for name in ('own', 'crossed')]
        if self.warned or None in shares or not segmentor(runner).selftrains:
            return
        selected = shares[0] + shares[1]
        self._selected = selected if self._selected is None else self._selected + selected
        self._steps += 1
        if self._steps < self.interval:
            return
        if self._selected == 0:
            self.warned = True
            runner.logger.warning(
                f'RRN has fallen back to CPS: for {self.interval} iterations no discriminator '
                f'accepted a region (γ = {segmentor(runner).threshold}; see semi/d_fake). Lower '
                'model.threshold or optim_wrapper.discriminator_optimizer.lr'
            )
        self._selected, self._steps = None, 0
