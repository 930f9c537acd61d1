# Labeled images alone, rare classes weighed up: the twin of u2pl_balanced.py.
custom_hooks = [dict(type='ClassWeightsHook')]
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
