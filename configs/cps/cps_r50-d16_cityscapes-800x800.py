_base_ = ['../_base_/protocols/cityscapes_r50.py', '../_base_/methods/cps.py']
model = dict(_base_.cps, cps_weight=6.0)  # the authors: 5 or 6 on Cityscapes
batch_size = 3 * _base_.labeled_per_gpu  # labeled images and as many pairs
train_dataloader = dict(_base_.pairs, batch_size=batch_size)
auto_scale_lr = dict(base_batch_size=_base_.num_gpus * batch_size)
default_hooks = dict(checkpoint=dict(save_best='mean/mIoU'))
