_base_ = ['../_base_/protocols/voc12_dinov2.py', '../_base_/methods/supervised.py']
train_dataloader = dict(_base_.supervised, batch_size=_base_.labeled_per_gpu)
auto_scale_lr = dict(base_batch_size=_base_.num_gpus * _base_.labeled_per_gpu)
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
