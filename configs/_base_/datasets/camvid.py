# CamVid, 480x360 video frames, 11 classes; 367 train, 101 val, 233 test frames.
# Elsewhere than data/camvid? Set CAMVID_ROOT, or link it: ln -s /your/path data/camvid
data_root = '{{$CAMVID_ROOT:data/camvid}}'
dataset_type = 'CamVidDataset'
scale = (240, 180)  # (width, height): half of the original, which a CPU can train
crop_size = (160, 192)  # (height, width)

augment = [
    dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations'),  # after Resize: scored at the original size
    dict(type='PackSegInputs'),
]
labeled = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
    ann_file='splits/1_16_labeled.txt',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), *augment],
)
labeled_photometric = dict(
    labeled,
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='PhotoMetricDistortion'),
        *augment,
    ],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='img_dir/train'),
    ann_file='splits/1_16_unlabeled.txt',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='AddValidityMap'), *augment],
)
val_dataset = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
    pipeline=test_pipeline,
)
test_dataset = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='img_dir/test', seg_map_path='ann_dir/test'),
    pipeline=test_pipeline,
)
auto_scale_lr = dict(base_batch_size=8)  # one process
train_dataloader = dict(
    batch_size=8,  # 4 labeled + 4 unlabeled
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SemiSampler', ratio=(1, 1)),
    dataset=dict(type='SemiDataset', labeled=labeled, unlabeled=unlabeled),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=val_dataset,
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=test_dataset,
)
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
