_base_ = [
    './u2pl_r101-d8_u2plhead_4xb4+4-80e_voc12-classic-1464-513x513.py',
    '../_base_/models/segformer_mit-b2.py',
]
model = dict(
    backbone=dict(_delete_=True, **_base_.mit_b2),
    decode_head=dict(_delete_=True, num_classes=21, **_base_.segformer_head),
)
optim_wrapper = dict(optimizer=dict(_delete_=True, **_base_.adamw))
