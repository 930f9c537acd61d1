# Synthetic street scenes of the demo, 128x96, 8 classes: 12 labeled, 300 unlabeled.
# tools/demo.py makes them.
# Elsewhere than data/synthetic? Set SYNTHETIC_ROOT, or link it: ln -s /your/path data/synthetic
data_root = '{{$SYNTHETIC_ROOT:data/synthetic}}'
dataset_type = 'SyntheticStreetDataset'
num_classes = 8
labeled_list = 'splits/labeled.txt'
unlabeled_list = 'splits/unlabeled.txt'
num_unlabeled = 300
scale = (192, 144)  # (width, height): generated at 128x96, enlarged for poles and persons
crop_size = (96, 128)  # (height, width)
max_iters = 1000
