"""Hooks and loops; importing this registers them with mmseg."""

from .hooks import (
    ClassCountsHook,
    ClassWeightsHook,
    ProgressBarHook,
    SemiProgressHook,
    TeacherHook,
)
from .loops import PredictorsTestLoop, PredictorsValLoop

__all__ = [
    'ClassCountsHook',
    'ClassWeightsHook',
    'PredictorsTestLoop',
    'PredictorsValLoop',
    'ProgressBarHook',
    'SemiProgressHook',
    'TeacherHook',
]
