# Cityscapes, 2048x1024 street scenes, 19 classes; 2975 train and 500 val images.
# tools/dataset_converters/cityscapes.py makes the masks, *_gtFine_labelTrainIds.png, and
# import_splits.py beside it the lists.
# Elsewhere than data/cityscapes? Set CITYSCAPES_ROOT, or link it there.
data_root = '{{$CITYSCAPES_ROOT:data/cityscapes}}'
dataset_type = 'CityscapesDataset'
crop_size = (769, 769)
scale = (2048, 1024)  # (width, height): the original, so the ratios act on it

augment = [
    dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [  # original size; the leaf's test_cfg slides a window over it
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
tta_pipeline = [  # tools/test.py --tta
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=ratio, keep_ratio=True)
                for ratio in (0.75, 1.0, 1.25)
            ],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
# A line of a list is a stem with its city: aachen/aachen_000000_000019
labeled = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    ann_file='splits/u2pl-1_4-744_labeled.txt',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), *augment],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='leftImg8bit/train'),
    img_suffix='_leftImg8bit.png',
    ann_file='splits/u2pl-1_4-744_unlabeled.txt',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='AddValidityMap'), *augment],
)
val_dataset = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    pipeline=test_pipeline,
)
auto_scale_lr = dict(base_batch_size=32)  # 8 GPUs
train_dataloader = dict(
    batch_size=4,  # 2 labeled + 2 unlabeled a GPU
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SemiSampler', ratio=(1, 1)),
    dataset=dict(type='SemiDataset', labeled=labeled, unlabeled=unlabeled),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=val_dataset,
)
test_dataloader = val_dataloader  # the test server alone has the test masks
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
