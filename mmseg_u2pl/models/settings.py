"""Checks of settings, with the messages that they share; each raises ValueError."""

import math
from collections.abc import Sequence


def one_of(choices: Sequence[str], **settings: str) -> None:
    """Refuse a setting that is none of the choices."""
    for name, value in settings.items():
        if value not in choices:
            *first, last = map(repr, choices)
            raise ValueError(f'{name} must be {", ".join(first)} or {last}, got {value!r}')


def unused(owner: object, **settings: object) -> None:
    """Refuse a setting that a method does nothing with."""
    for name, value in settings.items():
        if value is not None:
            raise ValueError(f'{type(owner).__name__} has no {name}: leave {name} out')


def needed(owner: object, **settings: object) -> None:
    """Refuse None for a setting that a method cannot do without."""
    for name, value in settings.items():
        if value is None:
            raise ValueError(f'{type(owner).__name__} needs a {name}, got {name}=None')


def not_negative(**settings: float) -> None:
    """Refuse a setting below zero."""
    for name, value in settings.items():
        if value < 0:
            raise ValueError(f'{name} must not be negative, got {value}')


def at_least_one(**settings: int) -> None:
    """Refuse a number of things below one."""
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')


def at_most(limit: float, **settings: float) -> None:
    """Refuse a setting outside [0, ``limit``]."""
    for name, value in settings.items():
        if not 0 <= value <= limit:
            raise ValueError(f'{name} must be in [0, {limit}], got {value}')


def below_one(**settings: float) -> None:
    """Refuse a setting outside [0, 1)."""
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise ValueError(f'{name} must be in [0, 1), got {value}')


def rising(limit: float = math.inf, /, **settings: Sequence[float]) -> None:
    """Refuse bounds that are not two rising numbers in (0, ``limit``]."""
    for name, (low, high) in settings.items():
        if not 0 < low <= high <= limit:
            raise ValueError(
                f'{name} must be two rising numbers in (0, {limit}], got {(low, high)}'
            )
