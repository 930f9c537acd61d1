# ADE20K of the scene parsing challenge, 150 classes; 20 210 training and 2000 validation images, as
# ADEChallengeData2016.zip unpacks. tools/import_splits.py makes the lists: see configs/README.md.
# Elsewhere than data/ade/ADEChallengeData2016? Set ADE20K_ROOT, or link it there.
_base_ = './common.py'
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
labeled = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
    ann_file=f'splits/{split}_labeled.txt',
    pipeline=[*_base_.load_labeled, resize, crop, _base_.flip, _base_.pack],
)
unlabeled = dict(
    type='UnlabeledDataset',
    data_root=data_root,
    data_prefix=dict(img_path='images/training'),
    ann_file=f'splits/{split}_unlabeled.txt',
    pipeline=[*_base_.load_unlabeled, resize, crop, _base_.flip, _base_.pack],
)
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader  # the test server alone has the test masks
