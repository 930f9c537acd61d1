_base_ = './u2pl_r101-d8_voc12-513x513.py'
model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='open-mmlab://resnet18_v1c')),
    decode_head=dict(in_channels=512, low_level_channels=64),
)
