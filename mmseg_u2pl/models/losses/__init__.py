"""Registered loss modules over :mod:`mmseg_u2pl.functional`."""
