_base_ = './rrn_r50-d16_deeplabv3plus_2xb3+6-35e_voc12-classic-1464-512x512.py'
max_iters = 52_880  # 40 epochs of 1 322, over 7 936 unlabeled images
masks = dict(seg_map_path='SegmentationClassAug')
labeled = dict(ann_file='splits/blender-u2pl-1_4-2646_labeled.txt', data_prefix=masks)
unlabeled = dict(ann_file='splits/blender-u2pl-1_4-2646_unlabeled.txt')
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.lr_warmup, end=13_220), dict(_base_.lr_decay, end=max_iters)]
model = dict(selftrain_warmup_iters=1322)
