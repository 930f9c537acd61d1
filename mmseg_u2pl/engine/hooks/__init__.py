"""Hooks of semi-supervised training."""

from .class_counts_hook import ClassCountsHook
from .class_weights_hook import ClassWeightsHook
from .progress_bar_hook import ProgressBarHook
from .progress_hook import SemiProgressHook
from .protocol_hook import ProtocolHook
from .resume_batch_hook import ResumeBatchHook
from .selection_hook import SelectionHook
from .teacher_hook import TeacherHook

__all__ = [
    'ClassCountsHook',
    'ClassWeightsHook',
    'ProgressBarHook',
    'ProtocolHook',
    'ResumeBatchHook',
    'SelectionHook',
    'SemiProgressHook',
    'TeacherHook',
]
