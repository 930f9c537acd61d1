_base_ = './cps_r50-d16_deeplabv3plus_2xb3+6-35e_voc12-classic-1464-512x512.py'
max_iters = 52_762  # 31 epochs of 1 702, over 10 216 unlabeled images
labeled = dict(ann_file='splits/classic-366_labeled.txt')
unlabeled = dict(ann_file='splits/classic-366_unlabeled.txt')
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.lr_warmup, end=17_020), dict(_base_.lr_decay, end=max_iters)]
