# Cityscapes, 2048x1024 street scenes, 19 classes; 2975 train and 500 val images.
# mmseg's cityscapes.py makes the masks, *_gtFine_labelTrainIds.png, and tools/import_splits.py the
# lists: see configs/README.md.
# Elsewhere than data/cityscapes? Set CITYSCAPES_ROOT, or link it there.
data_root = '{{$CITYSCAPES_ROOT:data/cityscapes}}'
dataset_type = 'CityscapesDataset'
# Lists of data_root/splits: u2pl-1_16-186, cps-1_16-186, ...
split = '{{$SPLIT:u2pl-1_4-744}}'
# A name ends with its number of labeled images. Other lists of yours are taken to have 744.
num_unlabeled = 2975 - (int(split.split('-')[-1]) if split.split('-')[-1].isdigit() else 744)
crop_size = (769, 769)
scale = (2048, 1024)  # (width, height): the original, so the ratios act on it

resize = dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True)
crop = dict(type='RandomCrop', crop_size=crop_size)
flip = dict(type='RandomFlip', prob=0.5)
pack = dict(type='PackSegInputs')
load_labeled = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
load_unlabeled = [dict(type='LoadImageFromFile'), dict(type='AddValidityMap')]
# original size; the test_cfg of the protocol slides a window over it
test_pipeline = [*load_labeled, pack]
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
# A line of a list is a stem with its city: aachen/aachen_000000_000019
labeled = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    ann_file=f'splits/{split}_labeled.txt',
    pipeline=[*load_labeled, resize, crop, flip, pack],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='leftImg8bit/train'),
    img_suffix='_leftImg8bit.png',
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
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader  # the test server alone has the test masks
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
