"""Notice that a number has been zero for long, without waiting for the device in between."""

from __future__ import annotations

import torch
from torch import Tensor


class ZeroWatch:
    """Collect a scalar of each step on its device; read them once an interval.

    Args:
        steps: The interval.
    """

    def __init__(self, steps: int = 100) -> None:
        self.steps = steps
        self._values: list[Tensor] = []

    def __call__(self, value: Tensor) -> bool:
        """Add a value; whether an interval ends here in which all were zero."""
        self._values.append(value.detach())
        if len(self._values) < self.steps:
            return False
        silent = not torch.stack(self._values).any()
        self._values.clear()
        return silent
