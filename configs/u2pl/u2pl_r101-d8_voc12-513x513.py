_base_ = ['../_base_/protocols/voc12_r101.py', '../_base_/methods/u2pl.py']
model = dict(_base_.u2pl, warmup_iters=min(_base_.epoch, _base_.max_iters // 4))
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
