"""Decode and representation heads."""

from .representation_head import RepresentationHead, logits_and_feature
from .u2pl_head import U2PLHead

__all__ = ['RepresentationHead', 'U2PLHead', 'logits_and_feature']
