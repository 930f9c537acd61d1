"""Decode and representation heads."""
