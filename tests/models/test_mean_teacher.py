"""One training step of Mean Teacher against a slow reference, and its ramp."""

import math

import pytest
import reference
import tiny
import torch
from mmseg.registry import MODELS

from mmseg_u2pl.functional import to_gray


def slow_mse(student, teacher, valid):
    """Mean of (p_student − p_teacher)² over the classes of valid pixels, a pixel at a time."""
    total, count = 0.0, 0
    for b, y, x in reference.pixels(valid):
        if valid[b, y, x]:
            one = reference.softmax(student[b, :, y, x].tolist())
            other = reference.softmax(teacher[b, :, y, x].tolist())
            total += sum((p - q) ** 2 for p, q in zip(one, other, strict=True))
            count += len(one)
    return total / count


def logits_of(network, images):
    with torch.no_grad():
        return network.decode_head(network.extract_feat(images)).double().numpy()


@pytest.mark.parametrize('pad_rows', [0, 8])
def test_the_unsupervised_loss_is_the_reference(pad_rows):
    model = tiny.ready('MeanTeacher', mse_weight=100.0)
    inputs, samples = tiny.batch(pad_rows=pad_rows)
    valid = tiny.labels_of(samples['unsup'])[:, ::4, ::4].numpy() != 255
    images = inputs['unsup']
    expected = slow_mse(logits_of(model, images), logits_of(model.teacher, images), valid)
    assert expected > 1e-4
    losses = model.loss(inputs, samples)
    assert losses['unsup.loss_mse'].item() == pytest.approx(100.0 * expected, rel=1e-4)
    assert {name for name in losses if 'loss' in name} == {'sup.decode.loss_ce', 'unsup.loss_mse'}


@pytest.mark.parametrize(
    ('iteration', 'done'), [(10, 0.05), (14, 0.25), (19, 0.5), (29, 1.0), (99, 1.0)]
)
def test_the_ramp_counts_from_the_end_of_the_warm_up(iteration, done):
    model = tiny.ready('MeanTeacher', warmup_iters=10, rampup_iters=20, mse_weight=1.0)
    model.before_iter(30, 100)
    inputs, samples = tiny.batch()
    full = model.loss(inputs, samples)['unsup.loss_mse'].item()
    model.before_iter(iteration, 100)
    value = model.loss(inputs, samples)['unsup.loss_mse'].item()
    assert value == pytest.approx(full * math.exp(-5 * (1 - done) ** 2), rel=1e-5)


def test_the_student_sees_the_strong_view_and_the_teacher_does_not():
    view = dict(type='PhotometricView', jitter_prob=0.0, gray_prob=1.0, blur_prob=0.0)
    model = tiny.ready('MeanTeacher', view=view)
    seen: dict = {}
    for name, network in (('student', model), ('teacher', model.teacher)):
        network.backbone.register_forward_pre_hook(
            lambda _, args, name=name: seen.setdefault(name, []).append(args[0])
        )
    inputs, samples = tiny.batch()
    model.loss(inputs, samples)
    (student,), (teacher,) = seen['student'], seen['teacher']
    torch.testing.assert_close(student[:2], inputs['sup'])
    gray = to_gray(inputs['unsup'].flip(1)).expand(-1, 3, -1, -1)  # images as loaded are BGR
    torch.testing.assert_close(student[2:], gray, rtol=1e-4, atol=1e-4)
    assert torch.equal(teacher, inputs['unsup'])
    (strong,) = model.training_views(model.stream_batch(inputs, samples))
    torch.testing.assert_close(strong.images, gray, rtol=1e-4, atol=1e-4)


def test_the_loss_trains_the_student_by_unlabeled_images_alone():
    model = tiny.ready('MeanTeacher')
    inputs, samples = tiny.batch()
    for images in inputs.values():
        images.requires_grad_()
    model.loss(inputs, samples)['unsup.loss_mse'].backward()
    assert inputs['sup'].grad.abs().sum() == 0
    assert (inputs['unsup'].grad.abs().sum((1, 2, 3)) > 0).all()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith('teacher'), name


def test_only_padding_is_no_loss():
    losses = tiny.semi('MeanTeacher').loss(*tiny.batch(pad_rows=32))
    assert losses['unsup.loss_mse'].item() == 0


def test_pseudo_labels_are_the_teachers_and_every_pixel_teaches():
    model = tiny.ready('MeanTeacher')
    images = torch.randn(2, 3, *tiny.CROP)
    valid = torch.ones(2, *tiny.CROP, dtype=torch.bool)
    valid[:, -4:] = False
    found = model.pseudo_labels(images, valid)['teacher']
    assert torch.equal(found.keep, valid)
    assert (found.label[~valid] == 255).all()
    low = torch.tensor(logits_of(model.teacher, images)).float().softmax(1)
    prob = torch.nn.functional.interpolate(low, tiny.CROP, mode='bilinear')
    torch.testing.assert_close(found.prob, prob)
    assert torch.equal(found.label[valid], prob.argmax(1)[valid])


def test_without_a_ramp_the_weight_is_full_from_the_first_step():
    model = tiny.ready('MeanTeacher', warmup_iters=2, mse_weight=3.0)
    values = []
    for iteration in (2, 3, 50):
        model.before_iter(iteration, 100)
        values.append(model.loss(*tiny.batch())['unsup.loss_mse'].item())
    assert values == [pytest.approx(values[0])] * 3


@pytest.mark.parametrize('kind', ['MeanTeacher', 'FixMatch'])
def test_statistics_of_the_teacher_follow_the_student(kind):
    """Weights without their BatchNorm statistics predict nothing."""
    model = tiny.semi(kind, teacher=dict(momentum=0.5))
    student, teacher = model.backbone.bn1, model.teacher.backbone.bn1
    expected = student.running_var.clone()
    for step in range(3):
        model.before_iter(step, 3)
        model.after_step(model.loss(*tiny.batch(seed=step)))
        expected = (expected + student.running_var) / 2
    torch.testing.assert_close(teacher.running_var, expected)
    assert (expected < 0.95).any()
    assert teacher.num_batches_tracked == student.num_batches_tracked == 3
    config = tiny.semi_config(kind, teacher=dict(norm='batch'))
    tiny.assert_raises(ValueError, lambda: MODELS.build(config), kind, "norm='ema'")


def test_a_contrastive_loss_is_refused():
    config = tiny.semi_config('MeanTeacher', contrastive=dict(bank_size=8))
    tiny.assert_raises(ValueError, lambda: MODELS.build(config), 'MeanTeacher has no contrastive')


def test_settings_outside_their_range_are_named():
    for kind, name in (
        ('MeanTeacher', 'mse_weight'), ('MeanTeacher', 'rampup_iters'), ('FixMatch', 'unsup_weight')
    ):  # fmt: skip
        settings = {name: -1}
        tiny.assert_raises(
            ValueError, lambda k=kind, s=settings: tiny.semi(k, **s), f'{name} must not be negative'
        )
