_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/schedules/adamw_poly_1000.py',
    '../_base_/methods/cps.py',
]
model = dict(
    type='CrossPseudo',
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=8),
)
auto_scale_lr = dict(base_batch_size=12)
train_dataloader = dict(batch_size=12, sampler=dict(ratio=(1, 2)))  # 4 labeled + 4 pairs
default_hooks = dict(checkpoint=dict(save_best='mean/mIoU'))
