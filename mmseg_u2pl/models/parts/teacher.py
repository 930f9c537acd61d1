"""The teacher: an exponential moving average of the student's networks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.profiler import record_function

from ..settings import below_one, one_of

NETWORKS = ('backbone', 'neck', 'decode_head', 'representation_head')
"""The parts of a segmentor that predict; auxiliary heads only train."""


@MODELS.register_module()
class Teacher(nn.Module):
    """EMA copy of a segmentor's networks: θ_t ← m·θ_t + (1 − m)·θ_s.

    It has the ``backbone``, ``neck`` and ``decode_head`` of mmseg's segmentors, no gradient and no
    dropout. It starts as an exact copy of the student; until then it must not teach.

    Args:
        student: The segmentor to copy.
        momentum: The largest m (U²PL: 0.99).
        norm: Where its BatchNorm statistics come from. ``'ema'``: the student's, averaged like
            the weights. ``'batch'``: its passes over training batches, which are also normalized by
            the batch at hand (official code of U²PL). Other buffers are copies of the student's.

    Raises:
        ValueError: ``momentum`` outside [0, 1) or an unknown ``norm``.
    """

    updates: Tensor  # long scalar: copies and averages so far
    backbone: nn.Module
    neck: nn.Module
    decode_head: nn.Module

    def __init__(
        self, student: nn.Module, momentum: float = 0.99, norm: Literal['ema', 'batch'] = 'ema'
    ) -> None:
        super().__init__()
        below_one(**{'teacher.momentum': momentum})
        one_of(('ema', 'batch'), **{'teacher.norm': norm})
        self.max_momentum = momentum
        self.norm = norm
        self.started = False
        self.step = 0  # k, the optimizer steps since the copy; what ``updates`` is, without a sync
        for name in NETWORKS:
            if getattr(student, name, None) is not None:
                setattr(self, name, copy.deepcopy(getattr(student, name)))
        self.requires_grad_(False)
        self.eval()
        self.register_buffer('updates', torch.zeros((), dtype=torch.long))

    def restart(self) -> None:
        """Forget another run: the next start copies the student again."""
        self.updates.zero_()
        self.started, self.step = False, 0

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.step = int(self.updates)
        self.started = self.step > 0

    def extract_feat(self, inputs: Tensor) -> list[Tensor]:
        """Features of images (B, 3, H, W), through the neck if there is one."""
        features = self.backbone(inputs)
        return self.neck(features) if hasattr(self, 'neck') else features

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode: the training loop calls this before every iteration."""
        return super().train(False)

    @contextmanager
    def batch_statistics(self, student: nn.Module) -> Iterator[None]:
        """Normalize by the batch at hand, and track it, where the student does; with ``'batch'``."""
        layers = [
            copied
            for networks in self._pairs(student)
            for copied, source in zip(*(part.modules() for part in networks), strict=True)
            if self.norm == 'batch' and isinstance(copied, _BatchNorm) and source.training
        ]  # without those that norm_eval freezes
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()

    def momentum(self, step: int) -> float:
        """m_k = min(1 − 1/(k + 1), max): the ramp lets an early teacher follow fast."""
        return min(1 - 1 / (step + 1), self.max_momentum)

    @torch.no_grad()
    def copy_from(self, student: nn.Module) -> None:
        """Copy the student's weights and buffers."""
        for copied, source in self._pairs(student):
            copied.load_state_dict(source.state_dict())

    def start(self, student: nn.Module) -> None:
        """Become an exact copy of the student, buffers included; this is update 0."""
        self.copy_from(student)
        self.updates.fill_(1)
        self.started, self.step = True, 1

    @record_function('semi/EMA')
    @torch.no_grad()
    def update(self, student: nn.Module) -> float:
        """Average the student in after an optimizer step; returns the momentum that was used."""
        momentum = self.momentum(self.step)
        averages: list[Tensor] = []
        values: list[Tensor] = []
        copies: tuple[list[Tensor], list[Tensor]] = [], []  # counts of batches, masks, bases ...
        for copied, source in self._pairs(student):
            averages += copied.parameters()  # tied ones once
            values += source.parameters()
            for module, other in zip(copied.modules(), source.modules(), strict=True):
                is_norm = isinstance(module, _BatchNorm)
                if is_norm and self.norm == 'batch':  # its own passes move them
                    continue
                for average, value in zip(module.buffers(False), other.buffers(False), strict=True):
                    averaged = is_norm and average.is_floating_point()
                    (averages if averaged else copies[0]).append(average)
                    (values if averaged else copies[1]).append(value)
        torch._foreach_lerp_(averages, values, 1 - momentum)
        if copies[0]:
            torch._foreach_copy_(*copies)
        self.updates.add_(1)
        self.step += 1
        return momentum

    def _pairs(self, student: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Each network with the one of the student that it is a copy of."""
        for name in NETWORKS:
            if hasattr(self, name):
                yield getattr(self, name), getattr(student, name)
