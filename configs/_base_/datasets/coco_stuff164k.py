# COCO-Stuff 164k, 171 classes of things and stuff; 118 287 train and 5000 val images.
# mmseg's coco_stuff164k.py makes the masks, *_labelTrainIds.png, and tools/import_splits.py the lists:
# see configs/README.md.
# Elsewhere than data/coco_stuff164k? Set COCO_STUFF_ROOT, or link it there.
_base_ = './ade20k.py'  # pipelines, loaders and evaluation
data_root = '{{$COCO_STUFF_ROOT:data/coco_stuff164k}}'
dataset_type = 'COCOStuffDataset'
# Lists of data_root/splits: unimatch-1_512-232, ...
split = '{{$SPLIT:unimatch-1_32-3697}}'
# A name ends with its number of labeled images. Other lists of yours are taken to have 3697.
num_unlabeled = 118_287 - (int(split.split('-')[-1]) if split.split('-')[-1].isdigit() else 3697)
scale = (640, 640)  # COCO's longer side, so the ratios act on the original size

resize = dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True)
augment = [resize, _base_.crop, _base_.flip, _base_.pack]
labeled = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
    ann_file=f'splits/{split}_labeled.txt',
    pipeline=[*_base_.load_labeled, *augment],
)
unlabeled = dict(
    data_root=data_root,
    data_prefix=dict(img_path='images/train2017'),
    ann_file=f'splits/{split}_unlabeled.txt',
    pipeline=[*_base_.load_unlabeled, *augment],
)
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    )
)
test_dataloader = val_dataloader
