_base_ = './supervised-balanced_effnet-lite0_fpn_1xb4-600_camvid-1_16-144x192.py'
train_dataloader = dict(dataset=dict(ann_file='splits/1_8_labeled.txt'))
