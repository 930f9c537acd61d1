# voc12_r101.py for a leaf that swaps in a hierarchical transformer: crops of 512, AdamW.
_base_ = './voc12_r101.py'
crop_size = (512, 512)
crop = dict(type='RandomCrop', crop_size=crop_size)
augment = [_base_.resize, crop, _base_.flip, _base_.pack]
train_dataloader = dict(
    dataset=dict(
        labeled=dict(pipeline=[*_base_.load_labeled, *augment]),
        unlabeled=dict(pipeline=[*_base_.load_unlabeled, *augment]),
    )
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01)
)  # the rate of 16 images a step; heads learn ten times faster
model = dict(data_preprocessor=dict(size=crop_size, grid=dict(stride=32, offset=0)))
