# What every config shares: registration, hooks, loops, environment, logging, reproducibility.
custom_imports = dict(imports=['mmseg_u2pl'], allow_failed_imports=False)
default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# A fixed seed makes two runs of a config comparable. --cfg-options randomness.seed=1
randomness = dict(seed=0)
# default_hooks is a dict, so a child config adds to it and cannot drop a hook by accident.
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='SafeCheckpointHook', by_epoch=False, max_keep_ckpts=1
    ),  # protocol: interval
    sampler_seed=dict(type='DistSamplerSeedHook'),
    semi_training=dict(type='SemiTrainingHook'),
    protocol=dict(type='ProtocolHook'),
    resume_batch=dict(type='ResumeBatchHook'),
    watch=dict(type='WatchHook'),  # also: draw=4 for pictures; masks='ann_dir/train' for errors
    visualization=dict(type='SegVisualizationHook'),
)
train_cfg = dict(type='IterBasedTrainLoop')  # protocol: max_iters, val_interval
val_cfg = dict(type='PredictorsValLoop')  # scores every network of a method in one pass
test_cfg = dict(type='PredictorsTestLoop')
vis_backends = [dict(type='SafeVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False, window_size=50)
log_level = 'INFO'
load_from = None
resume = False
