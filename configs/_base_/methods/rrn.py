# RRN: what the method needs beside model = dict(type='RRN'), pairs of unlabeled images (see cps.py)
# and optim_wrapper = dict(constructor='AdversarialOptimWrapperConstructor').
custom_hooks = [
    dict(type='SemiProgressHook'),
    dict(type='SelectionHook', interval=100),
]
val_cfg = dict(type='PredictorsValLoop')  # scores the mean and each network
test_cfg = dict(type='PredictorsTestLoop')  # likewise; drawings show model.predictor
