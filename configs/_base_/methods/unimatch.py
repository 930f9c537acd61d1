# UniMatch (Yang et al., CVPR 2023): two strong views and a weak view with channel dropout.
unimatch = dict(
    type='UniMatch',
    teacher=None,  # the student labels the weak view itself
    view=dict(type='PhotometricView', hue=0.25),
    mix=dict(type='CutMix', prob=0.5, area=(0.02, 0.4)),
    selection=dict(type='ConfidenceThreshold', threshold=0.95),
    feature_share=0.5,
    feature_dropout=0.5,
)
