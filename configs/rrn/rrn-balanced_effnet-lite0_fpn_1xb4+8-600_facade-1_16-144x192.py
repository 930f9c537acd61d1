_base_ = '../cps/cps-balanced_effnet-lite0_fpn_1xb4+8-600_facade-1_16-144x192.py'
model = dict(
    type='RRN',
    discriminator=dict(grid=3),
    target='cross',  # a filter of CPS, as in rrn-filter_...
    cps_weight=0.0,
    selection_weight=0.5,
    accepted_share=0.5,
)
optim_wrapper = dict(
    constructor='AdversarialOptimWrapperConstructor',
    discriminator_optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99)),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='SelectionHook', interval=100),
]
