"""Every image of a batch teaches the student, none the teacher.

Eval mode throughout: with training-mode BatchNorm any image would reach any other.
"""

import pytest
import tiny
import torch
from mmseg.registry import MODELS


def run(keys, labeled=3, unlabeled=3, **config):
    """Gradient of the named losses for each image; also the model."""
    contrastive = dict(delta_p=0.0, num_anchors=256, keys_per_step=64)
    settings = dict(contrastive=contrastive, teacher=dict(norm='ema'))
    model = tiny.u2pl(**{**settings, **config}).eval()
    inputs, samples = tiny.batch(labeled, unlabeled)
    for images in inputs.values():
        images.requires_grad_()
    losses = model.loss(inputs, samples)
    sum(losses[key] for key in keys).backward()
    grads = {
        name: torch.zeros_like(images) if images.grad is None else images.grad
        for name, images in inputs.items()
    }
    return {name: grad.abs().sum((1, 2, 3)).tolist() for name, grad in grads.items()}, model


def test_the_contrastive_loss_reaches_every_image():
    grads, _ = run(['contrast.loss_nce'], mix=None)
    assert min(grads['sup']) > 0
    assert min(grads['unsup']) > 0


@pytest.mark.parametrize('mix', [None, tiny.always(), tiny.always('ClassMix')], ids=str)
def test_the_unsupervised_loss_reaches_every_unlabeled_image_and_no_labeled_one(mix):
    grads, _ = run(['unsup.loss_ce'], mix=mix)
    assert min(grads['unsup']) > 0
    assert max(grads['sup']) == 0


def test_the_supervised_loss_reaches_every_labeled_image_and_no_unlabeled_one():
    grads, _ = run(['sup.decode.loss_ce', 'sup.aux.loss_ce'], aux=True)
    assert min(grads['sup']) > 0
    assert max(grads['unsup']) == 0


def test_in_the_warm_up_no_unlabeled_image_counts():
    grads, _ = run(['sup.decode.loss_ce', 'contrast.loss_nce'], warmup_iters=5)
    assert min(grads['sup']) > 0
    assert max(grads['unsup']) == 0


@pytest.mark.parametrize(
    ('key', 'trained', 'untouched'),
    [
        ('unsup.loss_ce', ['backbone', 'decode_head'], ['representation_head', 'teacher']),
        ('contrast.loss_nce', ['backbone', 'representation_head'], ['conv_seg', 'teacher']),
    ],
)
def test_which_networks_a_loss_trains(key, trained, untouched):
    _, model = run([key], mix=None)
    sums = {
        name: 0.0 if parameter.grad is None else parameter.grad.abs().sum().item()
        for name, parameter in model.named_parameters()
    }
    for part in trained:
        assert any(value > 0 for name, value in sums.items() if name.startswith(part)), part
    for part in untouched:
        assert all(value == 0 for name, value in sums.items() if part in name), part


def test_a_step_lowers_the_loss_and_leaves_the_teacher_alone():
    model = tiny.u2pl(dropout=0.0, mix=None, teacher=dict(norm='ema'))
    before = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    inputs, samples = tiny.batch()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    values = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = tiny.total(model.loss(inputs, samples))
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.95 * values[0]
    for name, value in model.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize('head', ['U2PLHead', 'FPNHead', 'SegformerHead'])
@pytest.mark.parametrize('progress', [(0, 10), (9, 10)])
@pytest.mark.parametrize('contrastive', [dict(delta_p=0.0), None])
def test_every_trainable_branch_of_other_heads_is_in_the_graph(head, progress, contrastive):
    norm = dict(norm_cfg=dict(type='BN'), channels=8, num_classes=3)
    heads: dict[str, dict] = {
        'U2PLHead': dict(
            in_channels=16, in_index=1, low_level_channels=8, rep_channels=8, dilations=(1, 2)
        ),
        'FPNHead': dict(in_channels=[8, 16], in_index=[0, 1], feature_strides=[4, 4]),
        'SegformerHead': dict(in_channels=[8, 16], in_index=[0, 1]),
    }
    config = tiny.u2pl_config(contrastive=contrastive, warmup_iters=5)
    config['decode_head'] = dict(type=head, **norm, **heads[head])
    model = MODELS.build(config).train()
    model.before_iter(*progress)
    losses = model.loss(*tiny.batch())
    tiny.total(losses).backward()
    for name, parameter in model.named_parameters():
        if not name.startswith('teacher'):
            assert parameter.grad is not None, name
    if contrastive and progress[0] > 5:
        assert losses['contrast.loss_nce'] > 0
