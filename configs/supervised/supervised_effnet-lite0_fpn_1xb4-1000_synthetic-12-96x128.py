_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/schedules/adamw_poly_1000.py',
    '../_base_/methods/supervised.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=8),
)
auto_scale_lr = dict(base_batch_size=4)
train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=_base_.labeled,
)
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
