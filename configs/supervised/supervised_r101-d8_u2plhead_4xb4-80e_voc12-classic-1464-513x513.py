_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/voc12.py',
    '../_base_/models/deeplabv3plus_r101-d8_u2plhead.py',
    '../_base_/schedules/sgd_poly_voc.py',
    '../_base_/methods/supervised.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=21),
)
find_unused_parameters = True  # the head's representation branch rests
auto_scale_lr = dict(base_batch_size=16)
train_dataloader = dict(
    _delete_=True,
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=_base_.labeled,
)
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
