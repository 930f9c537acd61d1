# AdamW with the papers' poly decay, for small networks; a pretrained backbone learns four times slower.
# A scheduler without `end` ends at max_iters.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SemiOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.25))),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False)]
