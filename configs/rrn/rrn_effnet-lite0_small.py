_base_ = ['../cps/cps_effnet-lite0_small.py', '../_base_/methods/rrn_small.py']
model = dict(_base_.rrn, selftrain_warmup_iters=_base_.epoch)
optim_wrapper = dict(_base_.rrn_optimizers)
