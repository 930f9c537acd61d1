"""The teacher: an exponential moving average of the student's networks."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

NETWORKS = ('backbone', 'neck', 'decode_head', 'representation_head')
"""The parts of a segmentor that predict; auxiliary heads only train."""


class Teacher(nn.Module):
    """EMA copy of a segmentor's networks: θ_t ← m·θ_t + (1 − m)·θ_s.

    It has the attributes through which mmseg's segmentors are used (``backbone``, ``neck``,
    ``decode_head``), no gradient, and dropout is always off. It does not exist for prediction
    before :meth:`copy_from` was called (``updates`` is 0).

    Args:
        student: The segmentor to copy.
        momentum: The largest m (U²PL: 0.99).
        norm: Where its BatchNorm statistics come from. ``'ema'``: the student's, averaged like
            the weights. ``'batch'``: its own passes over training batches, which also are
            normalised by the batch at hand (the official code).

    Raises:
        ValueError: ``momentum`` outside [0, 1) or an unknown ``norm``.
    """

    updates: Tensor  # long scalar: copies and averages so far
    backbone: nn.Module
    neck: nn.Module
    decode_head: nn.Module

    def __init__(
        self, student: nn.Module, momentum: float = 0.99, norm: Literal['ema', 'batch'] = 'batch'
    ) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f'ema_momentum must be in [0, 1), got {momentum}')
        if norm not in ('ema', 'batch'):
            raise ValueError(f"teacher_norm must be 'ema' or 'batch', got {norm!r}")
        self.max_momentum = momentum
        self.norm = norm
        for name in NETWORKS:
            if getattr(student, name, None) is not None:
                setattr(self, name, copy.deepcopy(getattr(student, name)))
        self.requires_grad_(False)
        self.register_buffer('updates', torch.zeros((), dtype=torch.long))

    def extract_feat(self, inputs: Tensor) -> list[Tensor]:
        """Features of images (B, 3, H, W), through the neck if there is one."""
        features = self.backbone(inputs)
        return self.neck(features) if hasattr(self, 'neck') else features

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode: the training loop calls this before every iteration."""
        return super().train(False)

    def batch_statistics(self, on: bool) -> None:
        """Normalise by the batch at hand, and track it, from now on; no effect with ``'ema'``."""
        if self.norm == 'batch':
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.train(on)

    def momentum(self, step: int) -> float:
        """m_k = min(1 − 1/(k + 1), max): the ramp lets an early teacher follow fast."""
        return min(1 - 1 / (step + 1), self.max_momentum)

    @torch.no_grad()
    def copy_from(self, student: nn.Module) -> None:
        """Become an exact copy of the student, buffers included; this is update 0."""
        for name in NETWORKS:
            if hasattr(self, name):
                getattr(self, name).load_state_dict(getattr(student, name).state_dict())
        self.updates.fill_(1)

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> float:
        """Average the student in after its ``step``-th optimiser step since the copy.

        Args:
            student: The segmentor that was copied.
            step: k, from 1.

        Returns:
            The momentum that was used.
        """
        momentum = self.momentum(step)
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name in NETWORKS:
            if not hasattr(self, name):
                continue
            own, other = getattr(self, name), getattr(student, name)
            averages += list(own.parameters())
            values += list(other.parameters())
            if self.norm == 'ema':
                for average, value in zip(own.buffers(), other.buffers(), strict=True):
                    if average.is_floating_point():
                        averages.append(average)
                        values.append(value)
                    else:
                        average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - momentum)
        self.updates.add_(1)
        return momentum
