"""Checks of settings, with the messages that they share."""

from __future__ import annotations

from collections.abc import Sequence


def one_of(choices: Sequence[str], **setting: str) -> None:
    """Raise ValueError unless the setting has one of two values."""
    ((name, value),) = setting.items()
    if value not in choices:
        raise ValueError(f'{name} must be {choices[0]!r} or {choices[1]!r}, got {value!r}')


def not_negative(**settings: float) -> None:
    """Raise ValueError if a setting is below zero."""
    for name, value in settings.items():
        if value < 0:
            raise ValueError(f'{name} must not be negative, got {value}')
