# U²PL: what the method needs beside model = dict(type='U2PL').
custom_hooks = [
    dict(type='SemiProgressHook'),
    dict(type='TeacherHook'),
    dict(type='ClassCountsHook', interval=200),
]
val_cfg = dict(type='PredictorsValLoop')  # scores teacher and student in one pass
test_cfg = dict(type='PredictorsTestLoop')  # likewise; drawings show model.predictor
