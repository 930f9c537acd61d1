_base_ = ['../_base_/protocols/cityscapes_r101.py', '../_base_/methods/u2pl.py']
model = dict(_base_.u2pl, warmup_iters=0)
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
