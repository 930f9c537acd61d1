# ADE20K of the scene parsing challenge, 150 classes; 20 210 training and 2000 validation images, as
# ADEChallengeData2016.zip unpacks. tools/import_splits.py makes the lists: see configs/README.md.
# Elsewhere than data/ade/ADEChallengeData2016? Set ADE20K_ROOT, or link it there.
data_root = '{{$ADE20K_ROOT:data/ade/ADEChallengeData2016}}'
dataset_type = 'ADE20KDataset'
# Lists of data_root/splits: unimatch-1_64-316, ...
split = '{{$SPLIT:unimatch-1_8-2526}}'
# A name ends with its number of labeled images. Other lists of yours are taken to have 2526.
num_unlabeled = 20_210 - (int(split.split('-')[-1]) if split.split('-')[-1].isdigit() else 2526)
crop_size = (518, 518)
scale = (2048, 512)  # (longest, short side) at most: the short side of most images

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
    data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
    ann_file=f'splits/{split}_labeled.txt',
    pipeline=[*load_labeled, resize, crop, flip, pack],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='images/training'),
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
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader  # the test server alone has the test masks
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
