"""The formulas of the methods as pure tensor functions: no state, no mmseg, any device."""

from .channels import channel_dropout, complementary_dropout
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
from .maps import (
    IGNORE,
    Part,
    by_images,
    enlarge,
    hard_labels,
    nearest,
    slices,
    sum_of_parts,
    upcast,
    widest,
)
from .mixing import (
    apply_mix,
    box_masks,
    class_mix_masks,
    cutmix_boxes,
    cutmix_pair_masks,
    mix_pairs,
    random_boxes,
)
from .photometric import color_jitter, gaussian_blur, shift_hue, to_gray
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
