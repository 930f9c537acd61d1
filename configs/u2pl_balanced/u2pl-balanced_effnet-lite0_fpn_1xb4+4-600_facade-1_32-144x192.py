_base_ = './u2pl-balanced_effnet-lite0_fpn_1xb4+4-600_facade-1_16-144x192.py'
train_dataloader = dict(
    dataset=dict(
        labeled=dict(ann_file='splits/1_32_labeled.txt'),
        unlabeled=dict(ann_file='splits/1_32_unlabeled.txt'),
    )
)
