# U²PL's schedule for VOC at 16 + 16 images a step: 80 epochs over the 9118 unlabeled images that
# the 1464 split leaves of train_aug (570 iterations each). Another batch: tools/train.py --auto-scale.
max_iters = 45_600
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=1e-4),
    # Keys are found anywhere in a parameter's name. The teacher's parameters match too, but need
    # no gradient and never reach the optimizer.
    paramwise_cfg=dict(
        custom_keys={
            'decode_head': dict(lr_mult=10.0),
            'auxiliary_head': dict(lr_mult=10.0),
            'representation_head': dict(lr_mult=10.0),
        }
    ),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=2280)  # 4 epochs
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, end=max_iters, by_epoch=False)]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2280, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    protocol=dict(type='ProtocolHook'),
    resume_batch=dict(type='ResumeBatchHook'),
    visualization=dict(type='SegVisualizationHook'),
)
