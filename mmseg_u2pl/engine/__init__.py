"""Hooks and loops; importing this registers them with mmseg."""

from .hooks import ClassCountsHook, ProgressBarHook, SemiProgressHook, TeacherHook
from .loops import PredictorsTestLoop, PredictorsValLoop

__all__ = [
    'ClassCountsHook',
    'PredictorsTestLoop',
    'PredictorsValLoop',
    'ProgressBarHook',
    'SemiProgressHook',
    'TeacherHook',
]
