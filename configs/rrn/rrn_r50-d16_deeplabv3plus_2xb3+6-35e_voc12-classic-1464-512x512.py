# RRN on VOC, as its published script trains: ResNet-50, crops of 512, 6 + 6 + 6 images a step, the
# schedule, γ = 0.6, λ_fm = 0.1, λ_cps = λ_st = 1, Adam 1e-4, windows of 512 at stride 2/3. Ours: 3×3
# regions where the script scores whole crops (discriminator=dict(head='scalar')), mmseg's head,
# scales of 0.5 to 2, two GPUs.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/voc12.py',
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/schedules/sgd_warmup_poly_voc.py',
    '../_base_/methods/rrn.py',
]
crop_size = (512, 512)
augment = list(_base_.augment)
augment[1] = dict(type='RandomCrop', crop_size=crop_size)
model = dict(
    type='RRN',
    selftrain_warmup_iters=1519,  # one epoch
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=21),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(341, 341)),
)
optim_wrapper = dict(
    constructor='AdversarialOptimWrapperConstructor',
    discriminator_optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99)),
)
auto_scale_lr = dict(base_batch_size=18)
train_dataloader = dict(
    batch_size=9,  # 3 labeled + 3 pairs a GPU
    sampler=dict(ratio=(1, 2)),
    dataset=dict(
        labeled=dict(pipeline=[*_base_.labeled.pipeline[:2], *augment]),
        unlabeled=dict(pipeline=[*_base_.unlabeled.pipeline[:2], *augment]),
    ),
)
