# The paper's network: ResNet-101 at output stride 8 under DeepLabv3+ with two branches.
sync_bn = 'torch'  # BatchNorm over all GPUs; does nothing in a single process
norm_cfg = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SemiDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=None,  # the protocol's crop
        pad_val=0,  # after normalization: the mean color
        seg_pad_val=255,
        grid=dict(stride=8, offset=1),
    ),
    backbone=dict(
        type='ResNetV1c',
        depth=101,
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        contract_dilation=True,  # the first block of stage 3 keeps the dilation before it, 1
        # The paper's multi-grid 2-2-4 multiplies: stage 4 enters with dilation 2 and goes on with
        # 4, hence 2*2, 4*2, 4*4. mmseg's multi_grid are the dilations themselves.
        multi_grid=(4, 8, 16),
        norm_cfg=norm_cfg,
        # The official stem is twice as wide (64-64-128, these weights 32-32-64).
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet101_v1c'),
    ),
    decode_head=dict(
        type='U2PLHead',
        in_channels=2048,
        low_level_channels=256,
        num_classes=0,  # the protocol sets it
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
