"""Pictures for people."""

from .comparison import Row, draw_comparison
from .pseudo_labels import draw_pseudo_labels, pseudo_label_table

__all__ = ['Row', 'draw_comparison', 'draw_pseudo_labels', 'pseudo_label_table']
