# PASCAL VOC 2012, 21 classes; 1464 train and 1449 val images with masks, 10 582 train_aug images.
# tools/dataset_converters/voc12.py makes it ready, import_splits.py beside it the lists.
# Elsewhere than data/VOCdevkit/VOC2012? Set VOC_ROOT, or link it there.
# Masks of the classic splits are SegmentationClass; of the blender splits SegmentationClassAug.
data_root = '{{$VOC_ROOT:data/VOCdevkit/VOC2012}}'
dataset_type = 'PascalVOCDataset'
crop_size = (513, 513)
# VOC's images are 500 pixels on their longer side, so the ratios act on the original size.
scale = (500, 500)

augment = [
    dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [  # whole images at their original size
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
labeled = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    ann_file='splits/classic-1464_labeled.txt',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), *augment],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages'),
    ann_file='splits/classic-1464_unlabeled.txt',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='AddValidityMap'), *augment],
)
val_dataset = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    ann_file='ImageSets/Segmentation/val.txt',
    pipeline=test_pipeline,
)
auto_scale_lr = dict(base_batch_size=32)  # 4 GPUs
train_dataloader = dict(
    batch_size=8,  # 4 labeled + 4 unlabeled a GPU
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
