# U²PL (Wang et al., CVPR 2022), the paper's settings.
u2pl = dict(
    type='U2PL',
    teacher=dict(momentum=0.99, norm='batch'),
    mix=dict(type='CutMix', prob=0.5),
    selection=dict(type='EntropyPercentile', percent=20, anneal=True),
    contrastive=dict(loss_weight=0.1),
)
