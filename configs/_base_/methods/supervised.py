# Labeled images alone: a plain mmseg EncoderDecoder.
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
