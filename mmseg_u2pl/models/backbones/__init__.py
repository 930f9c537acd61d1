"""Backbones that mmseg does not have."""

from .efficientnet_lite import EfficientNetLite
from .hf import HFBackbone
