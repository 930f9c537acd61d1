_base_ = './u2pl_r101-d8_voc12-513x513.py'
model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='open-mmlab://resnet50_v1c')))
