# RRN's schedule, from its published script: one learning rate for backbone and head, linear warm-up
# (the protocol sets its end), poly decay. Ours: the warm-up multiplies the poly decay, so that the
# rate does not jump where the warm-up ends.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SemiOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.0025, momentum=0.9, weight_decay=1e-4),
)
lr_warmup = dict(type='LinearLR', start_factor=1e-3, by_epoch=False)
lr_decay = dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False)
