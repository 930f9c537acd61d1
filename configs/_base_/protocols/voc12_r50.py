# RRN's protocol for VOC, from its published script, for CPS too: ResNet-50, crops of 512, 6 labeled
# images a step, 32, 34, 40 and 60 epochs at 1/16, 1/8, 1/4 and 1/2, which is about 317 000 pairs for
# every split; windows of 512 at stride 2/3. Ours: the epochs of the classic splits, for as many pairs;
# mmseg's head; scales of 0.5 to 2; two GPUs. Another batch: tools/train.py --auto-scale.
_base_ = [
    '../default_runtime.py',
    '../datasets/voc12.py',
    '../models/deeplabv3plus_r50-d16.py',
    '../schedules/sgd_warmup_poly.py',
]
crop_size = (512, 512)
crop = dict(type='RandomCrop', crop_size=crop_size)
augment = [_base_.resize, crop, _base_.flip, _base_.pack]
num_gpus = 2
labeled_per_gpu = 3
batch_size = 2 * labeled_per_gpu  # as many unlabeled images
# Iterations of an epoch: each GPU takes its share of the list and drops a last batch that is not full.
epoch = -(-_base_.num_unlabeled // num_gpus) // labeled_per_gpu
max_iters = int('{{$MAX_ITERS:0}}') or round(317_000 / _base_.num_unlabeled) * epoch
val_interval = -(-max_iters // 10)  # ten validations
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(checkpoint=dict(interval=val_interval))
auto_scale_lr = dict(base_batch_size=num_gpus * batch_size)
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
    decode_head=dict(num_classes=21),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(341, 341)),
)
