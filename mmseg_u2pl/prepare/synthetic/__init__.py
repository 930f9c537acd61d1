"""Synthetic street scenes for the demo and the tests."""

from .dataset import write_dataset
from .elements import render_scene
