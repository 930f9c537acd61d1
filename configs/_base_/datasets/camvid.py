# CamVid in the SegNet protocol (Brostow et al. 2009), 480x360 video frames, 11 classes, 255 = void; 367 train,
# 101 val, 233 test frames.
# Elsewhere than data/camvid? Set CAMVID_ROOT, or link it: ln -s /your/path data/camvid
data_root = '{{$CAMVID_ROOT:data/camvid}}'
metainfo = dict(
    classes=(
        'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car',
        'pedestrian', 'bicyclist',
    ),
    palette=[
        [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
        [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0],
        [0, 128, 192],
    ],
)  # fmt: skip
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
