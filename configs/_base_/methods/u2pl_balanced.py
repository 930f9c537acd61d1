# The recipe for unbalanced data: what it needs beside model = dict(type='U2PLBalanced').
custom_hooks = [
    dict(type='SemiProgressHook'),
    dict(type='ClassWeightsHook'),
    dict(type='TeacherHook'),
]
val_cfg = dict(type='PredictorsValLoop')  # scores teacher and student in one pass
test_cfg = dict(type='PredictorsTestLoop')  # likewise; drawings show model.predictor
