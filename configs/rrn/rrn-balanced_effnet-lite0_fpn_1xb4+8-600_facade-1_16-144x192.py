_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/facade.py',
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/schedules/adamw_poly_600.py',
    '../_base_/methods/rrn_balanced.py',
]
model = dict(
    type='RRN',
    warmup_iters=150,
    discriminator=dict(grid=3),
    target='cross',  # a filter of CPS, as in rrn-filter_...
    cps_weight=0.0,
    selection_weight=0.5,
    accepted_share=0.5,
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=8),
)
optim_wrapper = dict(
    constructor='AdversarialOptimWrapperConstructor',
    discriminator_optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99)),
)
auto_scale_lr = dict(base_batch_size=12)
train_dataloader = dict(
    batch_size=12,  # 4 labeled + 4 pairs
    sampler=dict(ratio=(1, 2)),
    dataset=dict(labeled=_base_.labeled_photometric),
)
default_hooks = dict(checkpoint=dict(save_best='mean/mIoU'))
