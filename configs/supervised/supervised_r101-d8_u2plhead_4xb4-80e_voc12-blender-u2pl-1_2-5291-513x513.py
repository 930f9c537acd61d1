_base_ = './supervised_r101-d8_u2plhead_4xb4-80e_voc12-classic-1464-513x513.py'
max_iters = 26_400  # as its U²PL twin
masks = dict(seg_map_path='SegmentationClassAug')
labeled = dict(ann_file='splits/blender-u2pl-1_2-5291_labeled.txt', data_prefix=masks)
train_dataloader = dict(dataset=labeled)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
