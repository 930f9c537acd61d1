"""Python text of config files."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from ...version import __version__

WIDTH = 100  # of a line
BALANCE = "dict(type='ClassWeightsHook')"


def header(command: str) -> str:
    """The first line of a config."""
    return f'# Written by: {" ".join(command.splitlines())}  (mmseg_u2pl {__version__})\n'


def call(*, indent: int = 0, **settings: Any) -> str:
    """``dict(...)`` as config files write it, over several lines where one would be long.

    Args:
        indent: Columns left of the text, which lines after the first get.
        **settings: Plain values; dicts and lists of dicts in them become calls too.
    """
    return _text(settings, indent)


def _text(value: Any, indent: int) -> str:
    inner = ' ' * (indent + 4)
    if isinstance(value, dict) and all(
        isinstance(key, str) and key.isidentifier() for key in value
    ):
        items = [f'{key}={_text(item, indent + 4)}' for key, item in value.items()]
        start, end = 'dict(', ')'
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items, start, end = [_text(item, indent + 4) for item in value], '[', ']'
    else:
        return repr(value)
    line = f'{start}{", ".join(items)}{end}'
    if '\n' not in line and indent + len(line) <= WIDTH - 22:  # a name or a comment beside it
        return line
    return start + ''.join(f'\n{inner}{item},' for item in items) + f'\n{" " * indent}{end}'


def noted(code: str, why: str) -> str:
    """Code with its reason behind it, or above it where the line would be long."""
    line = f'{code}  # {why}' if why else code
    if not why or (len(line) <= WIDTH and '\n' not in code):
        return line
    indent = code[: len(code) - len(code.lstrip())]
    return f'{indent}# {why}\n{code}'


def wrapped(values: Sequence[Any]) -> str:
    """The items of a list in lines of their own; none is broken."""
    items = ' '.join(f'{value!r},'.replace(' ', '\0') for value in values)
    lines = textwrap.wrap(items, WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    return ''.join(f'\n        {line}' for line in lines).replace('\0', ' ') + '\n    '
