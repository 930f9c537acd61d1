# UniMatch V2's schedule: a pretrained backbone learns slowly, what is new 40 times as fast.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SemiOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-6, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={
            'decode_head': dict(lr_mult=40.0),
            'representation_head': dict(lr_mult=40.0),
        }
    ),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False)]
