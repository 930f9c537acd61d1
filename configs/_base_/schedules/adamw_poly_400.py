# 400 iterations of AdamW with the papers' poly decay: a short schedule for small networks.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.01),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=400, val_interval=200)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, end=400, by_epoch=False)]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=200, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    protocol=dict(type='ProtocolHook'),
    resume_batch=dict(type='ResumeBatchHook'),
    visualization=dict(type='SegVisualizationHook'),
)
