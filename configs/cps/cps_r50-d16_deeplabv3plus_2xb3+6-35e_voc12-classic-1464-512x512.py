# CPS on VOC with CutMix, λ_cps = 1, trained as RRN's published script trains, so that the two differ
# in the method alone: ResNet-50, crops of 512, 6 + 6 + 6 images a step, the schedule, windows of 512 at
# stride 2/3. Ours: mmseg's head, scales of 0.5 to 2, two GPUs.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/voc12.py',
    '../_base_/models/deeplabv3plus_r50-d16.py',
    '../_base_/schedules/sgd_warmup_poly_voc.py',
    '../_base_/methods/cps.py',
]
crop_size = (512, 512)
augment = list(_base_.augment)
augment[1] = dict(type='RandomCrop', crop_size=crop_size)
model = dict(
    type='CrossPseudo',
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=21),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(341, 341)),
)
auto_scale_lr = dict(base_batch_size=18)
train_dataloader = dict(
    batch_size=9,  # 3 labeled + 3 pairs a GPU
    sampler=dict(ratio=(1, 2)),
    dataset=dict(
        labeled=dict(pipeline=[*_base_.labeled.pipeline[:2], *augment]),
        unlabeled=dict(pipeline=[*_base_.unlabeled.pipeline[:2], *augment]),
    ),
)
