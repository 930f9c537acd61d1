# Cityscapes, 2048x1024 street scenes, 19 classes; 2975 train and 500 val images.
# mmseg's cityscapes.py makes the masks, *_gtFine_labelTrainIds.png, and tools/import_splits.py the
# lists: see configs/README.md.
# Elsewhere than data/cityscapes? Set CITYSCAPES_ROOT, or link it there.
_base_ = './common.py'
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
# A line of a list is a stem with its city: aachen/aachen_000000_000019
labeled = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    ann_file=f'splits/{split}_labeled.txt',
    pipeline=[*_base_.load_labeled, resize, crop, _base_.flip, _base_.pack],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='leftImg8bit/train'),
    img_suffix='_leftImg8bit.png',
    ann_file=f'splits/{split}_unlabeled.txt',
    pipeline=[*_base_.load_unlabeled, resize, crop, _base_.flip, _base_.pack],
)
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader  # the test server alone has the test masks
