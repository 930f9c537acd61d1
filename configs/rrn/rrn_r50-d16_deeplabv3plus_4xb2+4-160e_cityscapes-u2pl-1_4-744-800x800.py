# RRN on Cityscapes. Its paper reports this data set, but no recipe of it is published: crops, batch,
# rate, OHEM and epochs are those of CPS; γ = 0.7 and Adam 1e-5 those of the works on discriminators
# that RRN builds on. Ours: regions (5×5 a crop), mmseg's head, windows of 800 at stride 2/3, four GPUs.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/schedules/sgd_warmup_poly_cityscapes.py',
    '../_base_/methods/rrn.py',
]
crop_size = (800, 800)
augment = list(_base_.augment)
augment[1] = dict(type='RandomCrop', crop_size=crop_size)
model = dict(
    type='RRN',
    selftrain_warmup_iters=279,  # one epoch
    threshold=0.7,
    cps_weight=6.0,
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(
        num_classes=19,
        sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=50_000),  # an image
    ),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(533, 533)),
)
optim_wrapper = dict(
    constructor='AdversarialOptimWrapperConstructor',
    discriminator_optimizer=dict(type='Adam', lr=1e-5, betas=(0.9, 0.99)),
)
auto_scale_lr = dict(base_batch_size=24)
train_dataloader = dict(
    batch_size=6,  # 2 labeled + 2 pairs a GPU
    sampler=dict(ratio=(1, 2)),
    dataset=dict(
        labeled=dict(pipeline=[*_base_.labeled.pipeline[:2], *augment]),
        unlabeled=dict(pipeline=[*_base_.unlabeled.pipeline[:2], *augment]),
    ),
)
