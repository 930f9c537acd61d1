"""The formulas of the methods as pure tensor functions: no state, no mmseg, any device."""

from .contrast import (
    anchor_mask,
    class_prototypes,
    class_ranks,
    draw_with_replacement,
    draw_without_replacement,
    info_nce,
    labeled_negative_mask,
    unlabeled_negative_mask,
)
from .mixing import apply_mix, box_masks, class_mix_masks, cutmix_boxes
from .photometric import color_jitter, gaussian_blur, photometric_view
from .reliability import (
    align_classes,
    consistency_loss,
    entropy_map,
    percentile_threshold,
    unsupervised_loss,
    upcast,
)

__all__ = [
    'align_classes',
    'anchor_mask',
    'apply_mix',
    'box_masks',
    'class_mix_masks',
    'class_prototypes',
    'class_ranks',
    'color_jitter',
    'consistency_loss',
    'cutmix_boxes',
    'draw_with_replacement',
    'draw_without_replacement',
    'entropy_map',
    'gaussian_blur',
    'info_nce',
    'labeled_negative_mask',
    'percentile_threshold',
    'photometric_view',
    'unlabeled_negative_mask',
    'unsupervised_loss',
    'upcast',
]
