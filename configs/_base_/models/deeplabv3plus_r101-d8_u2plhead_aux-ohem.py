# The paper's network for Cityscapes: an auxiliary head on stage 3, and hard pixels only.
_base_ = './deeplabv3plus_r101-d8_u2plhead.py'
# mmseg keeps at least min_kept pixels times the images of a batch, the official code 100 000 in
# all: 50 000 is the same with two labeled images a GPU. Both keep every pixel below 0.7 besides.
# mmseg divides by all valid pixels (avg_non_ignore), the official code by the kept ones: here
# the loss becomes smaller as pixels become easy.
sampler = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=50_000)
model = dict(
    decode_head=dict(sampler=sampler),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=0,  # the protocol sets it
        norm_cfg=_base_.norm_cfg,
        align_corners=True,
        sampler=sampler,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4),
    ),
)
