# U²PL's schedule for Cityscapes at 16 + 16 images a step: 200 epochs over the 2231 unlabeled
# images that the 1/4 split leaves (139 iterations each). Another batch: tools/train.py --auto-scale.
max_iters = 27_800
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1390)  # 10 epochs
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, end=max_iters, by_epoch=False)]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1390, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    protocol=dict(type='ProtocolHook'),
    resume_batch=dict(type='ResumeBatchHook'),
    visualization=dict(type='SegVisualizationHook'),
)
