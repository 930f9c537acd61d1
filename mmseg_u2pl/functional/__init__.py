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
from .labels import IGNORE, hard_labels, nearest
from .mixing import (
    apply_mix,
    box_masks,
    class_mix_masks,
    cutmix_boxes,
    cutmix_pair_masks,
    mix_pairs,
    random_boxes,
)
from .parts import by_images, enlarge, slices, sum_of_parts
from .photometric import color_jitter, gaussian_blur, shift_hue, to_gray
from .precision import upcast
from .regions import (
    feature_matching,
    masked_cross_entropy,
    region_share,
    region_vote,
)
from .reliability import (
    align_classes,
    class_percentile_thresholds,
    entropy_map,
    entropy_of_logits,
    percentile_threshold,
    pseudo_label_loss,
    reliable_loss,
    unsupervised_loss,
)

__all__ = [
    'IGNORE',
    'align_classes',
    'anchor_mask',
    'apply_mix',
    'box_masks',
    'by_images',
    'class_mix_masks',
    'class_percentile_thresholds',
    'class_prototypes',
    'class_ranks',
    'color_jitter',
    'cutmix_boxes',
    'cutmix_pair_masks',
    'draw_with_replacement',
    'draw_without_replacement',
    'enlarge',
    'entropy_map',
    'entropy_of_logits',
    'feature_matching',
    'gaussian_blur',
    'hard_labels',
    'info_nce',
    'labeled_negative_mask',
    'masked_cross_entropy',
    'mix_pairs',
    'nearest',
    'percentile_threshold',
    'pseudo_label_loss',
    'random_boxes',
    'region_share',
    'region_vote',
    'reliable_loss',
    'shift_hue',
    'slices',
    'sum_of_parts',
    'to_gray',
    'unlabeled_negative_mask',
    'unsupervised_loss',
    'upcast',
]
