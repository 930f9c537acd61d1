_base_ = './supervised_r101-d8_u2plhead_4xb4-80e_voc12-classic-1464-513x513.py'
max_iters = 52_400  # as its U²PL twin
labeled = dict(ann_file='splits/classic-92_labeled.txt')
train_dataloader = dict(dataset=labeled)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
