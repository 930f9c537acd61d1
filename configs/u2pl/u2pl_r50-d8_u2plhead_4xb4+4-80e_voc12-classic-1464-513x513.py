_base_ = './u2pl_r101-d8_u2plhead_4xb4+4-80e_voc12-classic-1464-513x513.py'
model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='open-mmlab://resnet50_v1c')))
