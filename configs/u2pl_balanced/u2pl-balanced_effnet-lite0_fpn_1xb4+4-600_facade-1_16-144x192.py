_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/facade.py',
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/schedules/adamw_poly_600.py',
    '../_base_/methods/u2pl_balanced.py',
]
model = dict(
    type='U2PLBalanced',
    warmup_iters=150,
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=8),
)
train_dataloader = dict(dataset=dict(labeled=_base_.labeled_photometric))
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
