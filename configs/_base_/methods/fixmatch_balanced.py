# FixMatch for few labels and classes of very different size: pseudo-labels are aligned with the class
# shares of the labeled images, and each class keeps the same share of its labels. The leaf adds
# ClassWeightsHook for the supervised loss.
fixmatch_balanced = dict(
    type='FixMatch',
    teacher=dict(momentum=0.95, norm='ema'),
    view=dict(type='PhotometricView', hue=0.0),
    mix=dict(type='CutMix', prob=1.0),
    selection=dict(type='EntropyPercentile', percent=20, anneal=False, per_class=True),
    alignment=dict(type='ClassAlignment'),
    unsup_weight=1.5,
)
