_base_ = ['../_base_/protocols/small_lite0.py', '../_base_/methods/fixmatch_balanced.py']
model = dict(_base_.fixmatch_balanced, warmup_iters=_base_.max_iters // 4)
train_dataloader = dict(dataset=dict(labeled=_base_.photometric))
custom_hooks = [dict(type='ClassWeightsHook')]
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
