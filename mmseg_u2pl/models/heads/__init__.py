"""Decode and representation heads."""

from .decode_head import check_decode_head, logits_and_feature
from .representation_head import RepresentationHead
from .u2pl_head import U2PLHead
