"""Networks, segmentors, their parts and losses; importing this registers them with mmseg."""

from .backbones import EfficientNetLite, HFBackbone
from .data_preprocessor import SemiDataPreprocessor
from .discriminators import RegionDiscriminator
from .heads import DPTMapHead, RepresentationHead, U2PLHead
from .losses import UnreliableContrastiveLoss
from .parts import (
    ClassAlignment,
    ClassMix,
    ConfidenceThreshold,
    CutMix,
    EntropyPercentile,
    MemoryBank,
    PhotometricView,
    Teacher,
)
from .segmentors import (
    RRN,
    U2PL,
    CrossPseudo,
    FixMatch,
    MeanTeacher,
    SemiSegmentor,
    UniMatch,
    UniMatchV2,
)
