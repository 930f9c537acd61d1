"""Registered loss modules over :mod:`mmseg_u2pl.functional`."""

from .contrastive_loss import UnreliableContrastiveLoss
