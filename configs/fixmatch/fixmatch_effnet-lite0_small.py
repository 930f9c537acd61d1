_base_ = ['../_base_/protocols/small_lite0.py', '../_base_/methods/fixmatch.py']
model = dict(_base_.fixmatch, warmup_iters=_base_.max_iters // 4)
default_hooks = dict(checkpoint=dict(save_best='student/mIoU'))
