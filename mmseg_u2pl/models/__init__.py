"""Networks, segmentors and losses; importing this registers them with mmseg."""

from .backbones import EfficientNetLite
from .data_preprocessor import SemiDataPreprocessor
from .discriminators import RegionDiscriminator
from .heads import RepresentationHead, U2PLHead
from .losses import UnreliableContrastiveLoss
from .memory_bank import MemoryBank
from .segmentors import RRN, U2PL, CrossPseudo, SemiSegmentor, U2PLBalanced
from .teacher import Teacher

__all__ = [
    'RRN',
    'U2PL',
    'CrossPseudo',
    'EfficientNetLite',
    'MemoryBank',
    'RegionDiscriminator',
    'RepresentationHead',
    'SemiDataPreprocessor',
    'SemiSegmentor',
    'Teacher',
    'U2PLBalanced',
    'U2PLHead',
    'UnreliableContrastiveLoss',
]
