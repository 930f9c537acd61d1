_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/schedules/adamw_poly_1000.py',
    '../_base_/methods/u2pl.py',
]
model = dict(
    type='U2PL',
    warmup_iters=250,
    representation_head=dict(channels=64, out_channels=64),
    contrastive=dict(bank_size=5000, num_anchors=64),
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=8),
)
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
