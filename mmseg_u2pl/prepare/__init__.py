"""Preparing data and configs: what training does not import."""
