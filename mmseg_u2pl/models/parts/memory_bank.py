"""A first-in-first-out memory of representations, one queue a class, on the device."""

import logging
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn

from ..settings import one_of


class MemoryBank(nn.Module):
    """One FIFO queue of unit-length representations per class.

    All queues live in one buffer, which checkpoints hold. Every process pushes the keys of all
    processes in the same order: the banks of all ranks are identical.

    Args:
        num_classes: C.
        size: Representations a class.
        channels: D.
        dtype: ``'float32'`` or ``'float16'``, safe for keys of unit length.

    Memory: C · size · D · (4 or 2) bytes.

    Raises:
        ValueError: A size below 1 or an unknown dtype.
    """

    features: Tensor  # (C, size, D)
    count: Tensor  # (C,) how many are stored
    cursor: Tensor  # (C,) where the next one goes

    def __init__(self, num_classes: int, size: int, channels: int, dtype: str = 'float32') -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f'bank size must be at least 1, got {size}')
        one_of(('float32', 'float16'), bank_dtype=dtype)
        shape = (num_classes, size, channels)
        self.register_buffer('features', torch.zeros(shape, dtype=getattr(torch, dtype)))
        self.register_buffer('count', torch.zeros(num_classes, dtype=torch.long))
        self.register_buffer('cursor', torch.zeros(num_classes, dtype=torch.long))

    def restart(self) -> None:
        """Forget the keys of another run; places without a key are not read."""
        self.count.zero_()
        self.cursor.zero_()

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """A checkpoint for prediction has no bank, another config one of another size: then this
        one stays as it is.
        """
        features = state.get(f'{prefix}features')
        if features is not None and features.shape != self.features.shape:
            shapes = ' instead of '.join(str(tuple(x.shape)) for x in (features, self.features))
            message = f'the checkpoint has a bank of {shapes}: this one starts empty'
            print_log(message, logger='current', level=logging.WARNING)
            features = None
        if features is None:
            state = {prefix + name: value for name, value in self.state_dict().items()}
        super()._load_from_state_dict(state, prefix, *arguments)

    @property
    def size(self) -> int:
        """Representations a class."""
        return self.features.shape[1]

    def fill(self) -> Tensor:
        """Share of the bank that is filled, a scalar in [0, 1]."""
        return self.count.float().mean() / self.size

    @torch.no_grad()
    def push(self, keys: Tensor, count: Tensor) -> None:
        """Append the first ``count[c]`` keys of each class, overwriting the oldest.

        A class with a key that is not finite gets none.

        Args:
            keys: (C, K, D); K times the number of processes is at most the bank's size.
            count: Long (C,), each at most K.

        Raises:
            ValueError: More keys than the bank is long.
        """
        if keys.shape[1] * get_world_size() > self.size:
            raise ValueError(
                f'{keys.shape[1]} keys from each of {get_world_size()} processes do not fit a '
                f'bank of {self.size}: lower keys_per_step or raise bank_size'
            )
        keys = F.normalize(keys.float(), dim=-1).to(self.features.dtype)
        if get_world_size() > 1:
            keys, count = _gather(keys, count)
        steps = torch.arange(keys.shape[1], device=keys.device)
        filler = steps >= count.unsqueeze(1)
        finite = (keys.isfinite().all(-1) | filler).all(-1)
        count = count.where(finite, 0)  # NaN would stay for a whole round of the queue
        position = (self.cursor.unsqueeze(1) + steps) % self.size  # (C, K), distinct in a row
        kept = steps < count.unsqueeze(1)  # (C, K)
        places = self._first() + position
        # filler keys write back what is in their place, which needs neither a branch nor a sync
        new = torch.where(kept.unsqueeze(-1), keys, self.at(places))
        self.features.flatten(0, 1).index_copy_(0, places.flatten(), new.flatten(0, 1))
        self.cursor.add_(count).remainder_(self.size)
        self.count.add_(count).clamp_(max=self.size)

    @torch.no_grad()
    def draw(self, num: int) -> Tensor:
        """Uniform draws with replacement: places for :meth:`at`, long (C, ``num``)."""
        uniform = torch.rand((self.count.shape[0], num), device=self.count.device)
        last = (self.count - 1).clamp(min=0).unsqueeze(1)
        position = (uniform * self.count.unsqueeze(1)).long().minimum(last)
        return self._first() + position

    def _first(self) -> Tensor:
        """Each class's first place, (C, 1)."""
        return self.size * torch.arange(len(self.count), device=self.count.device).unsqueeze(1)

    def at(self, places: Tensor) -> Tensor:
        """The representations (..., D) at places (...)."""
        rows = self.features.flatten(0, 1).index_select(0, places.flatten())  # copies whole rows
        return rows.unflatten(0, places.shape)


def bank_buffers(model: nn.Module) -> dict[str, Tensor]:
    """What the banks of a model hold, by the name in its ``state_dict``."""
    return {
        f'{prefix}.{name}': buffer
        for prefix, module in model.named_modules()
        if isinstance(module, MemoryBank)
        for name, buffer in module.named_buffers()
    }


def _gather(keys: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The keys of all processes, valid ones first, in one collective: (C, W·K, D) and (C,)."""
    valid = torch.arange(keys.shape[1], device=keys.device) < count.unsqueeze(1)
    packed = torch.cat((keys, valid.unsqueeze(-1).to(keys.dtype)), dim=-1)
    gathered = torch.cat(all_gather(packed.contiguous()), dim=1)  # (C, W·K, D + 1)
    valid = gathered[..., -1] > 0
    order = (~valid).long().argsort(dim=1, stable=True).unsqueeze(-1)
    keys = gathered[..., :-1]
    return keys.gather(1, order.expand_as(keys)), valid.sum(1)
