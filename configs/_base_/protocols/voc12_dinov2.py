# UniMatch V2's protocol for VOC: DINOv2 under DPT, crops of 518, 16 + 16 images a step, 60 epochs over
# the unlabeled list. Another batch or number of GPUs: tools/train.py --auto-scale.
_base_ = [
    '../default_runtime.py',
    '../datasets/voc12.py',
    '../models/dpt_dinov2-s.py',
    '../schedules/adamw_poly_dinov2.py',
]
crop_size = (518, 518)
crop = dict(type='RandomCrop', crop_size=crop_size)
augment = [_base_.resize, crop, _base_.flip, _base_.pack]
num_gpus = 4
labeled_per_gpu = 4
batch_size = 2 * labeled_per_gpu  # as many unlabeled images
# Iterations of an epoch: each GPU takes its share of the list and drops a last batch that is not full.
epoch = -(-_base_.num_unlabeled // num_gpus) // labeled_per_gpu
max_iters = int('{{$MAX_ITERS:0}}') or 60 * epoch
val_interval = -(-max_iters // 10)  # ten validations
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(checkpoint=dict(interval=val_interval))
auto_scale_lr = dict(base_batch_size=num_gpus * batch_size)
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        labeled=dict(pipeline=[*_base_.load_labeled, *augment]),
        unlabeled=dict(pipeline=[*_base_.load_unlabeled, *augment]),
    ),
)
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=21),
)
