_base_ = ['../_base_/protocols/voc12_r101.py', '../_base_/methods/fixmatch.py']
model = dict(_base_.fixmatch)
default_hooks = dict(checkpoint=dict(save_best='student/mIoU'))
