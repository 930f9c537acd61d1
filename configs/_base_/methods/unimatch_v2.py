# UniMatch V2 (Yang et al., TPAMI 2025): an EMA teacher, two strong views, complementary channels.
unimatch_v2 = dict(
    type='UniMatchV2',
    teacher=dict(momentum=0.996, norm='ema'),
    view=dict(type='PhotometricView', hue=0.25),
    mix=dict(type='CutMix', prob=0.5, area=(0.02, 0.4)),
    selection=dict(type='ConfidenceThreshold', threshold=0.95),
)
