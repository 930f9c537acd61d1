_base_ = './u2pl_r101-d8_u2plhead_8xb2+2-200e_cityscapes-u2pl-1_4-744-769x769.py'
max_iters = 32_600  # 200 epochs of 163, over 2 603 unlabeled images
labeled = dict(ann_file='splits/cps-1_8-372_labeled.txt')
unlabeled = dict(ann_file='splits/cps-1_8-372_unlabeled.txt')
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
