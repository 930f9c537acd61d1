# CPS (Chen et al., CVPR 2021) with CutMix. A step takes pairs of unlabeled images and mixes each.
cps = dict(type='CrossPseudo', cps_weight=1.0)
pairs = dict(sampler=dict(ratio=(1, 2)))
