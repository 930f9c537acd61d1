# CPS: what the method needs beside model = dict(type='CrossPseudo') and pairs of unlabeled images,
# train_dataloader = dict(batch_size=12, sampler=dict(ratio=(1, 2))): 4 labeled + 4 pairs.
custom_hooks = [dict(type='SemiProgressHook')]
val_cfg = dict(type='PredictorsValLoop')  # scores the mean and each network
test_cfg = dict(type='PredictorsTestLoop')  # likewise; drawings show model.predictor
