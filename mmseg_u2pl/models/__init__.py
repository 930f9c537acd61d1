"""Networks, segmentors, their parts and losses; importing this registers them with mmseg."""

from .backbones.efficientnet_lite import EfficientNetLite
from .backbones.hf import HFBackbone
from .data_preprocessor import SemiDataPreprocessor
from .discriminators.region_discriminator import RegionDiscriminator
from .heads.dpt_head import DPTMapHead
from .heads.representation_head import RepresentationHead
from .heads.u2pl_head import U2PLHead
from .losses.contrastive_loss import UnreliableContrastiveLoss
from .parts.alignment import ClassAlignment
from .parts.memory_bank import MemoryBank
from .parts.mixing import ClassMix, CutMix
from .parts.selection import ConfidenceThreshold, EntropyPercentile
from .parts.teacher import Teacher
from .parts.views import PhotometricView
from .segmentors.cross_pseudo import CrossPseudo
from .segmentors.fixmatch import FixMatch
from .segmentors.mean_teacher import MeanTeacher
from .segmentors.rrn import RRN
from .segmentors.semi import SemiSegmentor
from .segmentors.u2pl import U2PL
from .segmentors.unimatch import UniMatch
from .segmentors.unimatch_v2 import UniMatchV2
