"""What semi-supervised methods need of mmseg's decode heads."""

import inspect
from typing import Any

from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn


def check_decode_head(head: Any) -> None:
    """Refuse heads that do not turn features into one map of logits.

    Args:
        head: A decode head, or the configs of a cascade of them.

    Raises:
        TypeError: A cascade, a head that needs another one's logits, or one that returns more.
        ValueError: One output channel (sigmoid).
    """
    name, problem = type(head).__name__, ''
    if isinstance(head, list | tuple):
        names = ', '.join(each['type'] for each in head)
        problem = f'decode_head is a cascade ({names}), each head taking the logits before it'
    elif isinstance(head, BaseCascadeDecodeHead):
        problem = f'{name} takes the logits of a head before it'
    elif not isinstance(head, BaseDecodeHead) or _takes_several(head):
        problem = f'{name} returns more than one map of logits'
    if problem:
        raise TypeError(
            f'{problem}: semi-supervised methods need one decode head that returns one map of '
            "logits, such as dict(type='FCNHead', ...) or dict(type='UPerHead', ...)"
        )
    if head.out_channels < 2:
        raise ValueError(
            'decode_head.out_channels=1 (sigmoid) has no class ranks or entropies: use '
            'num_classes=2 and out_channels=2'
        )


def _takes_several(head: BaseDecodeHead) -> bool:
    """Whether the loss takes several maps of logits, by its annotation."""
    logits = next(iter(inspect.signature(head.loss_by_feat).parameters.values()))
    return any(kind in str(logits.annotation).lower() for kind in ('tuple[', 'list['))


def logits_and_feature(decode_head: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Run a decode head and catch what goes into its classifier.

    Args:
        decode_head: Any mmseg decode head.
        inputs: Multi-level features of the backbone or neck.

    Returns:
        Logits (B, C, h, w) and the input of ``conv_seg``, (B, channels, h, w).

    Raises:
        TypeError: The head has no ``conv_seg``, does not use it, or returns more than logits.
    """
    name = type(decode_head).__name__
    classifier = getattr(decode_head, 'conv_seg', None)
    if classifier is None:
        raise TypeError(f'{name} has no conv_seg: a semi-supervised method needs a head with one')
    caught: list[Tensor] = []
    handle = classifier.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    try:
        logits = decode_head(inputs)
    finally:
        handle.remove()
    if not caught or not isinstance(logits, Tensor):
        raise TypeError(f'{name} does not return the logits of conv_seg: choose another head')
    return logits, caught[-1]
