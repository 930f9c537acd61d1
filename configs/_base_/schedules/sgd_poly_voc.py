# U²PL's schedule for VOC, for 16 + 16 images a step: heads learn ten times faster.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='SemiOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=1e-4),
    # Keys are found anywhere in a parameter's name. The teacher's parameters match too, but they
    # need no gradient and never reach the optimizer.
    paramwise_cfg=dict(
        custom_keys={
            'decode_head': dict(lr_mult=10.0),
            'auxiliary_head': dict(lr_mult=10.0),
            'representation_head': dict(lr_mult=10.0),
        }
    ),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False)]
