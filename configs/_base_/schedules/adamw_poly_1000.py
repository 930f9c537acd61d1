_base_ = './adamw_poly_400.py'
train_cfg = dict(max_iters=1000, val_interval=500)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, end=1000, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=500))
