_base_ = './supervised_effnet-lite0_small.py'
train_dataloader = dict(dataset=dict(labeled=_base_.photometric))
custom_hooks = [dict(type='ClassWeightsHook')]
