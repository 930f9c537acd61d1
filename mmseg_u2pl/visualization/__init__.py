"""Pictures for people."""

from .comparison import Row, draw_comparison
from .contact_sheet import SheetRow, draw_contact_sheet, training_rows
from .pseudo_labels import draw_pseudo_labels, pseudo_label_table

__all__ = [
    'Row',
    'SheetRow',
    'draw_comparison',
    'draw_contact_sheet',
    'draw_pseudo_labels',
    'pseudo_label_table',
    'training_rows',
]
