"""Pictures for people."""

from .comparison import Row, draw_comparison

__all__ = ['Row', 'draw_comparison']
