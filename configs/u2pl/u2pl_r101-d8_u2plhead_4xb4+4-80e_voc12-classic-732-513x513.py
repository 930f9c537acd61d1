_base_ = './u2pl_r101-d8_u2plhead_4xb4+4-80e_voc12-classic-1464-513x513.py'
max_iters = 49_200  # 80 epochs of 615, over 9 850 unlabeled images
labeled = dict(ann_file='splits/classic-732_labeled.txt')
unlabeled = dict(ann_file='splits/classic-732_unlabeled.txt')
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
model = dict(warmup_iters=max_iters // 80)
