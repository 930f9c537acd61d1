_base_ = [
    './u2pl_r101-d8_u2plhead_4xb4+4-80e_voc12-classic-1464-513x513.py',
    '../_base_/models/upernet_swin-t.py',
]
model = dict(
    backbone=dict(_delete_=True, **_base_.swin_t),
    decode_head=dict(_delete_=True, num_classes=21, **_base_.uper_head),
)
optim_wrapper = dict(optimizer=dict(_delete_=True, **_base_.adamw))
