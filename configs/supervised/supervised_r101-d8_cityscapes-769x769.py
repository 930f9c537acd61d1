_base_ = ['../_base_/protocols/cityscapes_r101.py', '../_base_/methods/supervised.py']
train_dataloader = dict(_base_.supervised, batch_size=_base_.labeled_per_gpu)
auto_scale_lr = dict(base_batch_size=_base_.num_gpus * _base_.labeled_per_gpu)
find_unused_parameters = True  # the head's representation branch is not trained
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
