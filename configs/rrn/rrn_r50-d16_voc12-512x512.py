# γ = 0.6, λ_fm = 0.1, λ_st = 1 and Adam as in the published script. Ours: 3×3 regions where the script
# scores whole crops.
_base_ = ['../cps/cps_r50-d16_voc12-512x512.py', '../_base_/methods/rrn.py']
model = dict(_base_.rrn, selftrain_warmup_iters=_base_.epoch)
optim_wrapper = dict(_base_.rrn_optimizers)
