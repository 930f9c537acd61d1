_base_ = ['../cps/cps_effnet-lite0_small.py', '../_base_/methods/rrn_filter_small.py']
model = dict(_base_.rrn)
optim_wrapper = dict(_base_.rrn_optimizers)
