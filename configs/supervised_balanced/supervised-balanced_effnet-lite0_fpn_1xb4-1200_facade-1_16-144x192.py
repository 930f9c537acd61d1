_base_ = './supervised-balanced_effnet-lite0_fpn_1xb4-600_facade-1_16-144x192.py'
train_cfg = dict(max_iters=1200, val_interval=600)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, end=1200, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=600))
