"""Semi-supervised segmentors: one file a method."""

from .semi import SemiSegmentor
from .u2pl import U2PL
from .u2pl_balanced import U2PLBalanced

__all__ = ['U2PL', 'SemiSegmentor', 'U2PLBalanced']
