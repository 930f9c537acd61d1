"""Synthetic street scenes for the demo and the tests."""

from .dataset import write_dataset
from .elements import render_scene
from .scene import CLASSES, IGNORE, PALETTE

__all__ = ['CLASSES', 'IGNORE', 'PALETTE', 'render_scene', 'write_dataset']
