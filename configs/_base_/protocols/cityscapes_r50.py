# CPS's protocol for Cityscapes, for RRN too, which published none: ResNet-50, crops of 800, 8 labeled
# images a step, learning rate 0.02, OHEM on the labeled images, 128, 137, 160 and 240 epochs at 1/16,
# 1/8, 1/4 and 1/2, which is about 356 900 pairs for every split. Ours: linear warm-up over 10 epochs as
# in RRN's script for VOC, mmseg's head, windows of 800 at stride 2/3, four GPUs.
_base_ = [
    '../default_runtime.py',
    '../datasets/cityscapes.py',
    '../models/deeplabv3plus_r50-d16.py',
    '../schedules/sgd_warmup_poly.py',
]
crop_size = (800, 800)
crop = dict(type='RandomCrop', crop_size=crop_size)
augment = [_base_.resize, crop, _base_.flip, _base_.pack]
num_gpus = 4
labeled_per_gpu = 2
batch_size = 2 * labeled_per_gpu  # as many unlabeled images
# Iterations of an epoch: each GPU takes its share of the list and drops a last batch that is not full.
epoch = -(-_base_.num_unlabeled // num_gpus) // labeled_per_gpu
max_iters = int('{{$MAX_ITERS:0}}') or round(356_900 / _base_.num_unlabeled) * epoch
val_interval = -(-max_iters // 10)  # ten validations
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(checkpoint=dict(interval=val_interval))
auto_scale_lr = dict(base_batch_size=num_gpus * batch_size)
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [dict(_base_.lr_warmup, end=min(10 * epoch, max_iters // 3)), _base_.lr_decay]
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        labeled=dict(pipeline=[*_base_.load_labeled, *augment]),
        unlabeled=dict(pipeline=[*_base_.load_unlabeled, *augment]),
    ),
)
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(
        num_classes=19,
        sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=50_000),  # an image
    ),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(533, 533)),
)
