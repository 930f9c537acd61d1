# UniMatch V2's protocol for ADE20K: DINOv2 under DPT, crops of 518, 8 + 8 images a step, 60 epochs over
# the unlabeled list; the backbone of the small network is frozen. Another batch or number of GPUs:
# tools/train.py --auto-scale.
_base_ = [
    '../default_runtime.py',
    '../datasets/ade20k.py',
    '../models/dpt_dinov2-s.py',
    '../schedules/adamw_poly_dinov2.py',
]
num_gpus = 4
labeled_per_gpu = 2
batch_size = 2 * labeled_per_gpu  # as many unlabeled images
# Iterations of an epoch: each GPU takes its share of the list and drops a last batch that is not full.
epoch = -(-_base_.num_unlabeled // num_gpus) // labeled_per_gpu
max_iters = int('{{$MAX_ITERS:0}}') or 60 * epoch
val_interval = -(-max_iters // 10)  # ten validations
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(checkpoint=dict(interval=val_interval))
auto_scale_lr = dict(base_batch_size=num_gpus * batch_size)
train_dataloader = dict(batch_size=batch_size)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(frozen=True),
    decode_head=dict(num_classes=150),
)
