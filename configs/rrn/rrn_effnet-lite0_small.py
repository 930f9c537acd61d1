_base_ = ['../cps/cps_effnet-lite0_small.py', '../_base_/methods/rrn.py']
model = dict(_base_.rrn, discriminator=dict(grid=3), selftrain_warmup_iters=_base_.epoch)
optim_wrapper = dict(_base_.rrn_optimizers)
