# PASCAL VOC 2012, 21 classes; 1464 train and 1449 val images with masks, 10 582 train_aug images.
# mmseg's voc_aug.py makes the masks and tools/import_splits.py the lists: see configs/README.md.
# Elsewhere than data/VOCdevkit/VOC2012? Set VOC_ROOT, or link it there.
_base_ = './common.py'
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
labeled = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path=masks),
    ann_file=f'splits/{split}_labeled.txt',
    pipeline=[*_base_.load_labeled, resize, crop, _base_.flip, _base_.pack],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages'),
    ann_file=f'splits/{split}_unlabeled.txt',
    pipeline=[*_base_.load_unlabeled, resize, crop, _base_.flip, _base_.pack],
)
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader  # the test server alone has the test masks
