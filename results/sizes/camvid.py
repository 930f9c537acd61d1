"""Networks on CamVid, to measure what test sizes off the grid cost (docs/sizes.md).

NETWORK names one of `networks`. EfficientNet-Lite0 starts from ImageNet weights, the others from
random ones. Crops are on the grid of the network. CAMVID_ROOT is the folder of the data set.
"""

network = '{{$NETWORK:efficientnet-lite0_fpn}}'
data_root = '{{$CAMVID_ROOT:data/camvid}}'

custom_imports = dict(imports=['mmseg_u2pl'], allow_failed_imports=False)
default_scope = 'mmseg'
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
randomness = dict(seed=0)
norm_cfg = dict(type='BN')
head = dict(
    num_classes=11,
    dropout_ratio=0.1,
    norm_cfg=norm_cfg,
    align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
)
deeplab = dict(
    head,
    type='DepthwiseSeparableASPPHead',
    in_channels=512,
    in_index=3,
    channels=128,
    dilations=(1, 6, 12, 18),
    c1_in_channels=64,
    c1_channels=48,
)
resnet = dict(type='ResNet', depth=18, norm_cfg=norm_cfg)
bottleneck = dict(in_channels=2048, c1_in_channels=256, channels=256)
networks = {
    'efficientnet-lite0_fpn': dict(
        grid=dict(stride=32),
        backbone=dict(type='EfficientNetLite', pretrained=True),
        neck=dict(
            type='FPN',
            in_channels=[24, 40, 112, 320],
            out_channels=64,
            num_outs=4,
            norm_cfg=norm_cfg,
        ),
        decode_head=dict(
            head,
            type='FPNHead',
            in_channels=[64, 64, 64, 64],
            in_index=[0, 1, 2, 3],
            feature_strides=[4, 8, 16, 32],
            channels=64,
        ),
    ),
    # mmseg's and CPS's convention
    'deeplabv3plus_r18-d16': dict(
        grid=dict(stride=16),
        backbone=dict(resnet, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
        decode_head=deeplab,
    ),
    # U²PL's convention
    'deeplabv3plus_r18-d8_align': dict(
        grid=dict(stride=8, offset=1),
        backbone=dict(resnet, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
        decode_head=dict(deeplab, align_corners=True),
    ),
    # the published sizes of both, too large to train here
    'deeplabv3plus_r50-d16': dict(
        grid=dict(stride=16),
        backbone=dict(
            type='ResNetV1c',
            depth=50,
            norm_cfg=norm_cfg,
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
        ),
        decode_head={**deeplab, **bottleneck},
    ),
    'deeplabv3plus_r101-d8_align': dict(
        grid=dict(stride=8, offset=1),
        backbone=dict(
            type='ResNetV1c',
            depth=101,
            norm_cfg=norm_cfg,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
        ),
        decode_head={**deeplab, **bottleneck, 'align_corners': True},
    ),
    'segformer_mit-b0': dict(
        grid=dict(stride=32),
        backbone=dict(
            type='MixVisionTransformer',
            embed_dims=32,
            num_layers=[2, 2, 2, 2],
            num_heads=[1, 2, 5, 8],
            sr_ratios=[8, 4, 2, 1],
            qkv_bias=True,
            drop_path_rate=0.1,
        ),
        decode_head=dict(
            head,
            type='SegformerHead',
            in_channels=[32, 64, 160, 256],
            in_index=[0, 1, 2, 3],
            channels=128,
        ),
    ),
}
parts = networks[network]
grid = parts.pop('grid')
crop_size = (160 + grid.get('offset', 0), 192 + grid.get('offset', 0))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SemiDataPreprocessor',
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        size=crop_size,
        pad_val=0,
        seg_pad_val=255,
        grid=grid,
    ),
    **parts,
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

scale = (256, 192)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=False),
    dict(type='LoadAnnotations'),  # after Resize: scored at the original size
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8 if network.startswith('segformer') else 4,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CamVidDataset',
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CamVidDataset',
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
max_iters = 200 if network.startswith('deeplab') else 500  # they are the slowest
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.01))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=max_iters, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False, window_size=20)
