_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/voc12.py',
    '../_base_/models/deeplabv3plus_r101-d8_u2plhead.py',
    '../_base_/schedules/sgd_poly_voc.py',
    '../_base_/methods/u2pl.py',
]
model = dict(
    type='U2PL',
    warmup_iters=570,  # one epoch over the unlabeled list
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=21),
)
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
