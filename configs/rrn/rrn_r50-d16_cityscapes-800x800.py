# γ and Adam's rate are those of the works on discriminators that RRN builds on. Ours: 5×5 regions.
_base_ = ['../cps/cps_r50-d16_cityscapes-800x800.py', '../_base_/methods/rrn.py']
model = dict(_base_.rrn, selftrain_warmup_iters=_base_.epoch, threshold=0.7)
optim_wrapper = dict(
    _base_.rrn_optimizers, discriminator_optimizer=dict(type='Adam', lr=1e-5, betas=(0.9, 0.99))
)
