"""Steps whose gradient is not finite are left out."""

import functools
import math
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ..models.parts.memory_bank import bank_buffers
from .segmentor import segmentor

PATIENCE = 20
"""Skipped steps in a row after which training stops."""
OVERFLOWS = 50
"""The same of steps that a loss scaler skipped; finding its scale takes about 16."""


class FiniteGuard:
    """Skips an optimizer step, and what the forward pass left in buffers, if a gradient is NaN or infinite.

    With gradient accumulation that is the step of several passes, and what all of them left. A NaN
    pixel, an overflow or a too large learning rate would otherwise make the student NaN, then
    teacher, running statistics and class shares, and all later checkpoints. The bank refuses keys
    that are not finite by itself. In mixed precision an infinite gradient with a finite loss is how
    the loss scale is found, and is left to the scaler.

    Whether the gradient is finite is read by the host once an optimizer step. Gradients are the same in
    all processes, so all of them skip the same steps.

    Args:
        runner: Before its training; its optimizer wrapper is changed.

    Raises:
        FloatingPointError: A weight is not finite before the first step.
    """

    def __init__(self, runner: Runner) -> None:
        self.in_a_row = 0
        self._overflows = 0  # steps in a row that the scaler skipped
        self.skipped = False
        self._stepped = True
        self._seen: list[tuple[list[str], dict[str, Tensor]]] = []  # since the last step
        self._wrapper = runner.optim_wrapper
        self._step, self._backward = self._wrapper.step, self._wrapper.backward
        # schedulers mark the function that they count with, and miss the mark on another one
        self._wrapper.step = functools.wraps(self._step)(lambda **settings: self.step(**settings))
        self._wrapper.backward = self.backward
        model = segmentor(runner)
        _check_weights(model)
        large = bank_buffers(model)
        # by their places: some modules put another tensor there in each pass
        self._places = [
            (module, name)
            for prefix, module in model.named_modules()
            for name, _ in module.named_buffers(recurse=False)
            if f'{prefix}.{name}' not in large
        ]
        self._before = [torch.empty_like(buffer) for buffer in self._buffers()]
        self._loss = torch.zeros(())

    def backward(self, loss: Tensor, **settings: Any) -> None:
        """As in ``OptimWrapper``."""
        self._loss = self._loss + loss.detach()
        self._backward(loss, **settings)

    def _buffers(self) -> list[Tensor]:
        return [getattr(module, name) for module, name in self._places]

    def remember(self) -> None:
        """Before a forward pass, the first after a step: what such passes may change."""
        if not self._stepped:  # gradients are accumulated
            return
        self._stepped = self.skipped = False
        self._seen.clear()
        self._loss = torch.zeros(())
        if self._before:
            torch._foreach_copy_(self._before, self._buffers())

    def step(self, **settings: Any) -> None:
        """As in ``OptimWrapper``, or nothing."""
        self._stepped = True
        groups = self._wrapper.optimizer.param_groups  # discriminators', too
        parameters = (p for group in groups for p in group['params'])
        gradients = [p.grad for p in parameters if p.grad is not None]
        # the largest element: a scaled gradient's sum of squares can overflow by itself
        norms = torch._foreach_norm(gradients, math.inf) if gradients else ()
        finite = not norms or bool(torch.stack(norms).isfinite().all())
        scaled = isinstance(self._wrapper, AmpOptimWrapper)
        self.skipped = not finite and not (scaled and self._loss_is_finite())
        self._overflows = self._overflows + 1 if not finite and not self.skipped else 0
        if not self.skipped or scaled:  # a scaler skips by itself, and lowers its scale
            self._step(**settings)
        if self.skipped:
            if self._before:
                with torch.no_grad():
                    torch._foreach_copy_(self._buffers(), self._before)
            self.in_a_row += 1
        else:
            self.in_a_row = 0

    def _loss_is_finite(self) -> bool:
        """Of all processes."""
        finite = self._loss.isfinite().all().float()
        all_reduce(finite, 'min')
        return bool(finite)

    def after_iter(self, runner: Runner, data_batch: Any, outputs: dict[str, Tensor]) -> bool:
        """Whether the step of this iteration was skipped, which is logged unless a scaler did it.

        Raises:
            FloatingPointError: ``PATIENCE`` steps in a row were skipped, or ``OVERFLOWS`` by a scaler.
        """
        samples = data_batch.get('data_samples', []) if isinstance(data_batch, dict) else []
        paths = [sample.img_path for sample in samples if hasattr(sample, 'img_path')]
        self._seen.append((paths, outputs))
        if self.skipped:
            self._report(runner)
        if self._overflows >= OVERFLOWS:
            raise FloatingPointError(
                f'the gradient was not finite in {self._overflows} steps in a row, at any loss scale, '
                'though the loss is: train without --amp, or with --cfg-options '
                "optim_wrapper.dtype='bfloat16'"
            )
        return self.skipped or (self._stepped and self._overflows > 0)

    def _report(self, runner: Runner) -> None:
        """Of batches whose gradients were added up, name those with a number that is not finite."""
        wrong: dict[str, None] = {}
        images: list[str] = []
        for paths, outputs in self._seen:
            names = [
                name for name, value in outputs.items() if not torch.as_tensor(value).isfinite()
            ]
            wrong |= dict.fromkeys(names)
            images += paths if names else []
        images = images or [path for paths, _ in self._seen for path in paths]
        what = ', '.join(wrong) or 'the gradient alone'
        message = (
            f'iteration {runner.iter + 1}: not finite ({what}); the step is skipped. Images: '
            f'{", ".join(images) or "unknown"}'
        )
        runner.logger.warning(message)
        if self.in_a_row < PATIENCE:
            return
        rates = ', '.join(f'{rate:.1e}' for rate in sorted(set(self._wrapper.get_lr()['lr'])))
        raise FloatingPointError(
            f'{self.in_a_row} steps in a row were not finite, the last with {what}. The weights are '
            'still those before them, and so is the last checkpoint. If single images are named '
            f'above, look at them; if all are, lower the learning rate (now {rates}), or clip '
            'gradients: optim_wrapper.clip_grad=dict(max_norm=10)'
        )


def _check_weights(model: nn.Module) -> None:
    """Raise FloatingPointError if a weight is not finite, or a buffer NaN: masks of attention hold −inf."""
    weights = {name for name, _ in model.named_parameters()}
    for name, value in model.state_dict().items():
        wrong = value.isfinite().logical_not if name in weights else value.isnan
        if value.is_floating_point() and wrong().any():
            raise FloatingPointError(
                f'{name} is not finite before the first step: the checkpoint of load_from, or the '
                'one that is resumed, is damaged; start from an earlier one'
            )
