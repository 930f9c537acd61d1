_base_ = ['../_base_/protocols/voc12_dinov2.py', '../_base_/methods/unimatch_v2.py']
model = dict(_base_.unimatch_v2)
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
