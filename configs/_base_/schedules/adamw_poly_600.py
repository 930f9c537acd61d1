# 600 iterations, for pseudo-labels from a network that has learnt its labels first.
_base_ = './adamw_poly_400.py'
train_cfg = dict(max_iters=600, val_interval=300)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, end=600, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=300))
