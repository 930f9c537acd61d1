"""Backbones that mmseg does not have."""
