# LabelMeFacade, street photographs, short side 256, 8 classes; 550 train, 95 val, 300 test.
# Elsewhere than data/facade? Set FACADE_ROOT, or link it: ln -s /your/path data/facade
data_root = '{{$FACADE_ROOT:data/facade}}'
dataset_type = 'LabelMeFacadeDataset'
num_classes = 8
# Lists of data_root/splits. all: every training image is labeled (supervised configs).
split = '{{$SPLIT:1_16}}'
labeled_list = '' if split == 'all' else f'splits/{split}_labeled.txt'
unlabeled_list = f'splits/{split}_unlabeled.txt'
# Unlabeled images. Lists of yours are taken to be as long as those of the default.
num_unlabeled = {'1_32': 533, '1_16': 516, '1_8': 481, '1_4': 412}.get(split, 516)
scale = (1024, 176)  # (longest, short side) at most: two thirds of the original, for a CPU
crop_size = (160, 192)  # (height, width)
max_iters = 1200
