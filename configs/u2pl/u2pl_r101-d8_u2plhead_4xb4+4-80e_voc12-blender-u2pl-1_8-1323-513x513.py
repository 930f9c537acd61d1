_base_ = './u2pl_r101-d8_u2plhead_4xb4+4-80e_voc12-classic-1464-513x513.py'
max_iters = 46_240  # 80 epochs of 578, over 9 259 unlabeled images
masks = dict(seg_map_path='SegmentationClassAug')
labeled = dict(ann_file='splits/blender-u2pl-1_8-1323_labeled.txt', data_prefix=masks)
unlabeled = dict(ann_file='splits/blender-u2pl-1_8-1323_unlabeled.txt')
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
model = dict(warmup_iters=max_iters // 80)
