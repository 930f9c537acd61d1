_base_ = ['../_base_/protocols/small_lite0.py', '../_base_/methods/unimatch.py']
model = dict(_base_.unimatch)
default_hooks = dict(checkpoint=dict(save_best='student/mIoU'))
