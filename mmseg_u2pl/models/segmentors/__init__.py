"""Semi-supervised segmentors: one file a method."""

from .semi import SemiSegmentor
from .u2pl import U2PL

__all__ = ['U2PL', 'SemiSegmentor']
