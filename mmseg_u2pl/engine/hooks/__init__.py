"""Hooks of semi-supervised training."""

from .class_counts_hook import ClassCountsHook
from .class_weights_hook import ClassWeightsHook
from .progress_bar_hook import ProgressBarHook
from .progress_hook import SemiProgressHook
from .teacher_hook import TeacherHook

__all__ = [
    'ClassCountsHook',
    'ClassWeightsHook',
    'ProgressBarHook',
    'SemiProgressHook',
    'TeacherHook',
]
