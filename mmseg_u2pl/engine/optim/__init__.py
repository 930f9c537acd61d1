"""Training of several networks with their optimizers, and mixed precision without a scaler."""

from .amp import BFloat16OptimWrapper
from .constructor import SemiOptimWrapperConstructor
