_base_ = './cps_r50-d16_deeplabv3plus_4xb2+4-160e_cityscapes-u2pl-1_4-744-800x800.py'
max_iters = 44_640  # 240 epochs of 186, over 1 487 unlabeled images
labeled = dict(ann_file='splits/cps-1_2-1488_labeled.txt')
unlabeled = dict(ann_file='splits/cps-1_2-1488_unlabeled.txt')
train_dataloader = dict(dataset=dict(labeled=labeled, unlabeled=unlabeled))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.lr_warmup, end=1_860), dict(_base_.lr_decay, end=max_iters)]
