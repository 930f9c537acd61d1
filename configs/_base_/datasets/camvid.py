# CamVid, 480x360 video frames, 11 classes; 367 train, 101 val, 233 test frames.
# Elsewhere than data/camvid? Set CAMVID_ROOT, or link it: ln -s /your/path data/camvid
data_root = '{{$CAMVID_ROOT:data/camvid}}'
dataset_type = 'CamVidDataset'
# Lists of data_root/splits. all: every training image is labeled (supervised configs).
split = '{{$SPLIT:1_16}}'
# Unlabeled images. Lists of yours are taken to be as long as those of the default.
num_unlabeled = {'1_32': 356, '1_16': 344, '1_8': 321, '1_4': 275, '1_2': 183}.get(split, 344)
scale = (240, 180)  # (width, height): half of the original, which a CPU can train
crop_size = (160, 192)  # (height, width)

resize = dict(type='RandomResize', scale=scale, ratio_range=(0.75, 1.5), keep_ratio=True)
labeled_crop = dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75)
unlabeled_crop = dict(type='RandomCrop', crop_size=crop_size)  # it has no classes to balance
flip = dict(type='RandomFlip', prob=0.5)
pack = dict(type='PackSegInputs')
load_labeled = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
load_unlabeled = [dict(type='LoadImageFromFile'), dict(type='AddValidityMap')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations'),  # after Resize: scored at the original size
    pack,
]
tta_model = dict(type='SegTTAModel')
tta_pipeline = [  # tools/test.py --tta
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(
                    type='Resize',
                    scale=(int(ratio * scale[0]), int(ratio * scale[1])),
                    keep_ratio=True,
                )
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
    data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
    ann_file='' if split == 'all' else f'splits/{split}_labeled.txt',
    pipeline=[*load_labeled, resize, labeled_crop, flip, pack],
)
photometric = dict(  # labeled images of the balanced settings: other colors, too
    pipeline=[*load_labeled, resize, labeled_crop, dict(type='PhotoMetricDistortion'), flip, pack]
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='img_dir/train'),
    ann_file=f'splits/{split}_unlabeled.txt',
    pipeline=[*load_unlabeled, resize, unlabeled_crop, flip, pack],
)
train_dataloader = dict(  # protocol: batch_size
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
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'],
        data_prefix=dict(img_path='img_dir/test', seg_map_path='ann_dir/test'),
    ),
)
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
