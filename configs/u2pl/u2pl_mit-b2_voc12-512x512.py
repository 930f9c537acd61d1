_base_ = [
    '../_base_/protocols/voc12_transformer.py',
    '../_base_/models/segformer_mit-b2.py',
    '../_base_/methods/u2pl.py',
]
model = dict(
    _base_.u2pl,
    warmup_iters=min(_base_.epoch, _base_.max_iters // 4),
    backbone=dict(_base_.mit_b2, _delete_=True),
    decode_head=dict(_base_.segformer_head, _delete_=True, num_classes=21),
)
default_hooks = dict(checkpoint=dict(save_best='teacher/mIoU'))
