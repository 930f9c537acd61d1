# Animals of PASCAL VOC 2012 (with SBD), short side 192, 7 classes; 2000 train, 145 val, 300 test.
# Elsewhere than data/voc_animals? Set VOC_ANIMALS_ROOT, or link it: ln -s /your/path data/voc_animals
data_root = '{{$VOC_ANIMALS_ROOT:data/voc_animals}}'
dataset_type = 'VOCAnimalsDataset'
num_classes = 7
# Lists of data_root/splits. all: every training image is labeled (supervised configs).
split = '{{$SPLIT:voc_1_8}}'
labeled_list = '' if split == 'all' else f'splits/{split}_labeled.txt'
unlabeled_list = f'splits/{split}_unlabeled.txt'
# Unlabeled images. Lists of yours are taken to be as long as those of the default.
num_unlabeled = {
    'voc_1_16': 1973,
    'voc_1_8': 1946,
    'voc_1_4': 1891,
    'voc_1_2': 1782,
    'voc_1_1': 1563,
}.get(split, 1946)
scale = (1024, 192)  # (longest, short side) at most
crop_size = (160, 160)  # (height, width)
max_iters = 5000
