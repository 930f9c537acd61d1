_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/camvid.py',
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/schedules/adamw_poly_600.py',
    '../_base_/methods/cps_balanced.py',
]
model = dict(
    type='CrossPseudo',
    warmup_iters=150,
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=11),
)
auto_scale_lr = dict(base_batch_size=12)
train_dataloader = dict(
    batch_size=12,  # 4 labeled + 4 pairs
    sampler=dict(ratio=(1, 2)),
    dataset=dict(labeled=_base_.labeled_photometric),
)
default_hooks = dict(checkpoint=dict(save_best='mean/mIoU'))
