"""Training of several parts with an optimizer each."""

from .adversarial import AdversarialOptimWrapperConstructor

__all__ = ['AdversarialOptimWrapperConstructor']
