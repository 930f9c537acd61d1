# The schedule of CPS for Cityscapes: 8 + 8 + 8 images a step, 128, 137, 160 and 240 epochs at 1/16,
# 1/8, 1/4 and 1/2. The 1/4 split leaves 2231 unlabeled images: 279 iterations an epoch on 4 GPUs.
# RRN published none; the linear warm-up over 10 epochs is that of its script for VOC.
_base_ = './sgd_warmup_poly_voc.py'
max_iters = 44_640  # 160 epochs
optim_wrapper = dict(optimizer=dict(lr=0.02))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.lr_warmup, end=2790), dict(_base_.lr_decay, end=max_iters)]
