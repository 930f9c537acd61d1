_base_ = ['../cps/cps_effnet-lite0_small.py', '../_base_/methods/rrn_filter.py']
model = dict(_base_.rrn, discriminator=dict(grid=3))
optim_wrapper = dict(_base_.rrn_optimizers)
