_base_ = './rrn_r50-d16_deeplabv3plus_4xb2+4-160e_cityscapes-u2pl-1_4-744-800x800.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c')))
