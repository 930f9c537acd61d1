"""Hooks, loops and optimizers; importing this registers them with mmseg."""

from .checkpoints import SafeCheckpointHook
from .class_weights import ClassWeightsHook
from .loops import PredictorsTestLoop, PredictorsValLoop
from .optim import BFloat16OptimWrapper, SemiOptimWrapperConstructor
from .protocol import ProtocolHook
from .resume_batch import ResumeBatchHook
from .semi_hook import SemiTrainingHook
from .watch import WatchHook
