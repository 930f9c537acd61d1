# AdamW with the papers' poly decay, for small networks. A scheduler without `end` ends at max_iters.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SemiOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.01),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False)]
