# CamVid, 480x360 video frames, 11 classes; 367 train, 101 val, 233 test frames.
# Elsewhere than data/camvid? Set CAMVID_ROOT, or link it: ln -s /your/path data/camvid
data_root = '{{$CAMVID_ROOT:data/camvid}}'
dataset_type = 'CamVidDataset'
num_classes = 11
# Lists of data_root/splits. all: every training image is labeled (supervised configs).
split = '{{$SPLIT:1_16}}'
labeled_list = '' if split == 'all' else f'splits/{split}_labeled.txt'
unlabeled_list = f'splits/{split}_unlabeled.txt'
# Unlabeled images. Lists of yours are taken to be as long as those of the default.
num_unlabeled = {'1_32': 356, '1_16': 344, '1_8': 321, '1_4': 275, '1_2': 183}.get(split, 344)
scale = (240, 180)  # (width, height): half of the original, which a CPU can train
crop_size = (160, 192)  # (height, width)
max_iters = 1200
