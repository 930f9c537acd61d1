"""Hooks and loops; importing this registers them with mmseg."""

from .hooks import (
    ClassCountsHook,
    ClassWeightsHook,
    ProgressBarHook,
    ProtocolHook,
    ResumeBatchHook,
    SelectionHook,
    SemiProgressHook,
    TeacherHook,
)
from .loops import PredictorsTestLoop, PredictorsValLoop
from .optim import AdversarialOptimWrapperConstructor

__all__ = [
    'AdversarialOptimWrapperConstructor',
    'ClassCountsHook',
    'ClassWeightsHook',
    'PredictorsTestLoop',
    'PredictorsValLoop',
    'ProgressBarHook',
    'ProtocolHook',
    'ResumeBatchHook',
    'SelectionHook',
    'SemiProgressHook',
    'TeacherHook',
]
