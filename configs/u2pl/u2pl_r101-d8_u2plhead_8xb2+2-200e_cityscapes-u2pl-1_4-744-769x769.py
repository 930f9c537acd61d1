_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/models/deeplabv3plus_r101-d8_u2plhead_aux-ohem.py',
    '../_base_/schedules/sgd_poly_cityscapes.py',
    '../_base_/methods/u2pl.py',
]
model = dict(
    type='U2PL',
    warmup_iters=0,
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=19),
    auxiliary_head=dict(num_classes=19),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(513, 513)),
)
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
