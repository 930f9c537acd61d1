# U²PL's protocol for Cityscapes: crops of 769, 16 + 16 images a step, 200 epochs over the unlabeled
# list. Another batch or number of GPUs: tools/train.py --auto-scale.
_base_ = [
    '../default_runtime.py',
    '../datasets/cityscapes.py',
    '../models/deeplabv3plus_r101-d8_u2plhead_aux-ohem.py',
    '../schedules/sgd_poly_cityscapes.py',
]
num_gpus = 8
labeled_per_gpu = 2
batch_size = 2 * labeled_per_gpu  # as many unlabeled images
# Iterations of an epoch: each GPU takes its share of the list and drops a last batch that is not full.
epoch = -(-_base_.num_unlabeled // num_gpus) // labeled_per_gpu
max_iters = int('{{$MAX_ITERS:0}}') or 200 * epoch
val_interval = -(-max_iters // 10)  # ten validations
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(checkpoint=dict(interval=val_interval))
auto_scale_lr = dict(base_batch_size=num_gpus * batch_size)
train_dataloader = dict(batch_size=batch_size)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=19),
    auxiliary_head=dict(num_classes=19),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(513, 513)),
)
