"""Semi-supervised segmentors: one file a method."""

from .cross_pseudo import CrossPseudo
from .fixmatch import FixMatch
from .mean_teacher import MeanTeacher
from .rrn import RRN
from .semi import SemiSegmentor
from .u2pl import U2PL
from .unimatch import UniMatch
from .unimatch_v2 import UniMatchV2
