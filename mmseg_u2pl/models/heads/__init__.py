"""Decode and representation heads."""

from .decode_head import check_decode_head, logits_and_feature
from .dpt_head import DPTMapHead
from .representation_head import RepresentationHead
from .u2pl_head import U2PLHead
