# What data sets share: steps of pipelines, loaders, test-time augmentation and evaluation.
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
train_dataloader = dict(  # protocol: batch_size
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SemiSampler', ratio=(1, 1)),
    dataset=dict(type='SemiDataset'),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
