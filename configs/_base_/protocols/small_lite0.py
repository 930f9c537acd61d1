# A small data set on a CPU: EfficientNet-Lite0 with FPN, 4 + 4 images a step.
# --data camvid, facade, voc_animals or synthetic (the demo).
_base_ = [
    '../default_runtime.py',
    '../datasets/small.py',
    '../models/fpn_efficientnet-lite0.py',
    '../schedules/adamw_poly.py',
]
num_gpus = 1  # or the CPU
labeled_per_gpu = 4
batch_size = 2 * labeled_per_gpu  # as many unlabeled images
epoch = _base_.num_unlabeled // labeled_per_gpu  # iterations
max_iters = int('{{$MAX_ITERS:0}}') or _base_.max_iters
val_interval = -(-max_iters // 10)  # ten validations
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(checkpoint=dict(interval=val_interval))
auto_scale_lr = dict(base_batch_size=num_gpus * batch_size)
train_dataloader = dict(batch_size=batch_size)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes),
)
