# RRN's schedule for VOC, from its published script: 6 + 6 + 6 images a step, one rate for backbone
# and head, poly after 10 epochs of linear warm-up; 32, 34, 40 and 60 epochs at 1/16, 1/8, 1/4 and
# 1/2, all about 317 000 pairs. An epoch is one over the unlabeled list: 1519 iterations for the
# 9118 images that the 1464 split leaves of train_aug.
# Ours: the classic splits' epochs, for as many pairs; the warm-up multiplies the poly decay, so that
# the rate does not jump where it ends. Another batch: tools/train.py --auto-scale.
max_iters = 53_165  # 35 epochs
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.0025, momentum=0.9, weight_decay=1e-4),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
lr_warmup = dict(type='LinearLR', start_factor=1e-3, end=15_190, by_epoch=False)  # 10 epochs
lr_decay = dict(type='PolyLR', power=0.9, eta_min=0.0, end=max_iters, by_epoch=False)
param_scheduler = [lr_warmup, lr_decay]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=1,
        save_best='mean/mIoU',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    protocol=dict(type='ProtocolHook'),
    resume_batch=dict(type='ResumeBatchHook'),
    visualization=dict(type='SegVisualizationHook'),
)  # fmt: skip
