# PASCAL VOC 2012, 21 classes; 1464 train and 1449 val images with masks, 10 582 train_aug images.
# mmseg's voc_aug.py makes the masks and tools/import_splits.py the lists: see configs/README.md.
# Elsewhere than data/VOCdevkit/VOC2012? Set VOC_ROOT, or link it there.
data_root = '{{$VOC_ROOT:data/VOCdevkit/VOC2012}}'
dataset_type = 'PascalVOCDataset'
# Lists of data_root/splits: classic-92, blender-cps-1_16-662, ...
split = '{{$SPLIT:classic-1464}}'
# A name ends with its number of labeled images. Other lists of yours are taken to have 1464.
num_unlabeled = 10_582 - (int(split.split('-')[-1]) if split.split('-')[-1].isdigit() else 1464)
# SegmentationClass has VOC's masks of the 1464 train images, SegmentationClassAug those of train_aug.
masks = 'SegmentationClass' if split.startswith('classic-') else 'SegmentationClassAug'
crop_size = (513, 513)
scale = (500, 500)  # VOC's longer side, so the ratios act on the original size

resize = dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True)
crop = dict(type='RandomCrop', crop_size=crop_size)
flip = dict(type='RandomFlip', prob=0.5)
pack = dict(type='PackSegInputs')
load_labeled = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
load_unlabeled = [dict(type='LoadImageFromFile'), dict(type='AddValidityMap')]
test_pipeline = [*load_labeled, pack]  # whole images at their original size
tta_model = dict(type='SegTTAModel')
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
            [pack],
        ],
    ),
]
labeled = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path=masks),
    ann_file=f'splits/{split}_labeled.txt',
    pipeline=[*load_labeled, resize, crop, flip, pack],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages'),
    ann_file=f'splits/{split}_unlabeled.txt',
    pipeline=[*load_unlabeled, resize, crop, flip, pack],
)
train_dataloader = dict(  # protocol: batch_size
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
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader  # the test server alone has the test masks
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
