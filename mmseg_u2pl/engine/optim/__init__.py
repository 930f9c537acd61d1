"""Training of several parts with an optimizer each, and mixed precision without a scaler."""

from .adversarial import AdversarialOptimWrapperConstructor
from .amp import BFloat16OptimWrapper

__all__ = ['AdversarialOptimWrapperConstructor', 'BFloat16OptimWrapper']
