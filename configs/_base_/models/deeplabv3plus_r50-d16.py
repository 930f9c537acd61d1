# DeepLabv3+ as CPS and RRN train it: ResNet-50 at output stride 16, rates 6, 12 and 18.
_base_ = './deeplabv3plus_r101-d8_u2plhead.py'
model = dict(
    data_preprocessor=dict(grid=dict(stride=16, offset=0)),
    backbone=dict(
        depth=50,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        contract_dilation=False,
        multi_grid=None,
        init_cfg=dict(checkpoint='open-mmlab://resnet50_v1c'),
    ),
    decode_head=dict(
        _delete_=True,
        type='DepthwiseSeparableASPPHead',  # mmseg's: the convolutions are separable
        in_channels=2048,
        in_index=3,
        channels=256,
        dilations=(1, 6, 12, 18),
        c1_in_channels=256,
        c1_channels=48,
        dropout_ratio=0.1,
        num_classes=0,  # the protocol sets it
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
    ),
)
