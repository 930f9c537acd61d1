_base_ = './cps_r50-d16_deeplabv3plus_2xb3+6-35e_voc12-classic-1464-512x512.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c')))
