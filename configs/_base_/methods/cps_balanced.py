# CPS for unbalanced data: rare classes weigh more in the supervised losses of both networks.
_base_ = './cps.py'
custom_hooks = [dict(type='SemiProgressHook'), dict(type='ClassWeightsHook')]
