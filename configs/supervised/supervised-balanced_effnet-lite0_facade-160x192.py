_base_ = './supervised_effnet-lite0_facade-160x192.py'
train_dataloader = dict(dataset=dict(labeled=_base_.photometric))
custom_hooks = [dict(type='ClassWeightsHook')]
