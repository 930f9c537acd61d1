# FixMatch for segmentation, as in UniMatch (Yang et al., CVPR 2023), Sec. 3.1.
fixmatch = dict(
    type='FixMatch',
    teacher=None,  # the student labels the weak view itself
    view=dict(type='PhotometricView', hue=0.25),
    mix=dict(type='CutMix', prob=0.5, area=(0.02, 0.4)),
    selection=dict(type='ConfidenceThreshold', threshold=0.95),
)
