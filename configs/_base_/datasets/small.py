# Pipelines, loaders and evaluation of a small data set in folders img_dir and ann_dir, each with train,
# val and test. Which one: --data NAME, or SMALL_DATA=NAME for mmseg's tools.
_base_ = ['./common.py', './{{$SMALL_DATA:camvid}}.py']
data = '{{$SMALL_DATA:camvid}}'

resize = dict(type='RandomResize', scale=_base_.scale, ratio_range=(0.75, 1.5), keep_ratio=True)
labeled_crop = dict(type='RandomCrop', crop_size=_base_.crop_size, cat_max_ratio=0.75)
unlabeled_crop = dict(type='RandomCrop', crop_size=_base_.crop_size)  # it has no classes to balance
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=_base_.scale, keep_ratio=True),
    dict(type='LoadAnnotations'),  # after Resize: scored at the original size
    _base_.pack,
]
tta_pipeline = [  # tools/test.py --tta
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(
                    type='Resize',
                    scale=tuple(int(ratio * side) for side in _base_.scale),
                    keep_ratio=True,
                )
                for ratio in (0.75, 1.0, 1.25)
            ],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [_base_.pack],
        ],
    ),
]
labeled = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
    ann_file=_base_.labeled_list,
    pipeline=[*_base_.load_labeled, resize, labeled_crop, _base_.flip, _base_.pack],
)
photometric = dict(  # labeled images of the balanced settings: other colors, too
    pipeline=[
        *_base_.load_labeled,
        resize,
        labeled_crop,
        dict(type='PhotoMetricDistortion'),
        _base_.flip,
        _base_.pack,
    ]
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=_base_.data_root,
    data_prefix=dict(img_path='img_dir/train'),
    ann_file=_base_.unlabeled_list,
    pipeline=[*_base_.load_unlabeled, resize, unlabeled_crop, _base_.flip, _base_.pack],
)
train_dataloader = dict(num_workers=2, dataset=dict(labeled=labeled, unlabeled=unlabeled))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type=_base_.dataset_type,
        data_root=_base_.data_root,
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
