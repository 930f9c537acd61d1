"""Semi-supervised segmentors: one file a method."""

from .cross_pseudo import CrossPseudo
from .rrn import RRN
from .semi import SemiSegmentor
from .u2pl import U2PL
from .u2pl_balanced import U2PLBalanced

__all__ = ['RRN', 'U2PL', 'CrossPseudo', 'SemiSegmentor', 'U2PLBalanced']
