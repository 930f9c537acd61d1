_base_ = './supervised_r101-d8_u2plhead_8xb2-200e_cityscapes-u2pl-1_4-744-769x769.py'
max_iters = 32_600  # as its U²PL twin
labeled = dict(ann_file='splits/u2pl-1_8-372_labeled.txt')
train_dataloader = dict(dataset=labeled)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
