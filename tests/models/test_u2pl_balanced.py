"""What the recipe changes in U²PL: labels aligned, weighed, and seen through a strong view."""

import pytest
import tiny
import torch
import torch.nn.functional as F

from mmseg_u2pl.functional import align_classes, consistency_loss


def balanced(**config):
    """A tiny model of two unlabeled images a step, its classes' shares known."""
    config = {'type': 'U2PLBalanced', 'contrastive': None, 'teacher_passes': 1, **config}
    model = tiny.u2pl(**config)
    model.set_class_balance(torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 1.0, 2.0]))
    return model


# ----------------------------------------------------------------------------- alignment
def test_alignment_by_hand():
    # p = (.6, .4) scaled by .5/.75 and .5/.25: (.4, .8) → (1/3, 2/3)
    logits = torch.tensor([0.6, 0.4]).log().view(1, 2, 1, 1)
    aligned = align_classes(logits, torch.tensor([0.5, 0.5]), torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(aligned.softmax(1).flatten(), torch.tensor([1 / 3, 2 / 3]))


def test_classes_as_frequent_as_they_should_be_stay():
    logits = torch.randn(2, 3, 4, 5)
    share = torch.tensor([0.5, 0.3, 0.2])
    assert torch.equal(align_classes(logits, share, share), logits)


def test_a_class_without_labels_is_never_predicted():
    logits = torch.randn(2, 3, 4, 5)
    aligned = align_classes(logits, torch.tensor([0.5, 0.5, 0.0]), torch.full((3,), 1 / 3))
    assert not (aligned.argmax(1) == 2).any()
    assert aligned.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_alignment_keeps_at_least_float32(dtype):
    aligned = align_classes(torch.zeros(1, 2, 3, dtype=dtype), torch.ones(2), torch.ones(2))
    assert aligned.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_the_mean_starts_at_the_first_and_follows_slowly():
    model = balanced()
    pads = torch.zeros(1, 4, 4, dtype=torch.long)
    pads[:, :, 2:] = 255  # the right half does not count
    first, second = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.2, 0.6])
    for prob, expected in ((first, first), (second, 0.98 * first + 0.02 * second)):
        low = prob.log().view(1, 3, 1, 1).repeat(1, 1, 4, 4)
        low[..., 2:] = torch.tensor([9.0, 0, 0]).view(1, 3, 1, 1)
        model._pseudo_label(low, pads)
        torch.testing.assert_close(model.mean_prob, expected)


def test_pseudo_labels_follow_the_labeled_shares():
    model = balanced()
    model.mean_prob.copy_(torch.tensor([0.9, 0.05, 0.05]))
    # .5 · .7/.9 = .39 for class 0, .4 · .2/.05 = 1.6 for class 1
    low = torch.tensor([0.5, 0.4, 0.1]).log().view(1, 3, 1, 1).expand(1, 3, 8, 8)
    pads = torch.zeros(1, 32, 32, dtype=torch.long)
    pads[:, 0] = 255
    label = model.eval()._pseudo_label(low, pads)
    assert (label[:, 1:] == 1).all()
    assert (label[:, 0] == 255).all()


def test_looking_at_pseudo_labels_changes_nothing():
    model = balanced().eval()
    images, pads = torch.randn(2, 3, *tiny.CROP), torch.zeros(2, *tiny.CROP, dtype=torch.long)
    before = model.mean_prob.clone()
    model.pseudo_labels(images, pads)
    assert torch.equal(model.mean_prob, before)


def test_state_is_saved():
    model, other = balanced(), balanced(seed=1)
    inputs, samples = tiny.batch()
    model.loss(inputs, samples)
    other.load_state_dict(model.state_dict())
    for name in ('class_weight', 'class_share', 'mean_prob'):
        assert torch.equal(getattr(model, name), getattr(other, name))
    assert model.mean_prob.sum() == pytest.approx(1, abs=1e-5)


# ----------------------------------------------------------------------------- weights
def test_weighted_consistency_is_pytorchs_weighted_mean():
    logits, target = torch.randn(2, 3, 6, 6), torch.randint(0, 3, (2, 6, 6))
    target[:, :2] = 255
    weight = torch.tensor([0.5, 1.0, 2.0])
    loss, scale = consistency_loss(logits, target, class_weight=weight)
    assert scale == pytest.approx(1.5)
    expected = 1.5 * F.cross_entropy(logits, target, weight, ignore_index=255)
    torch.testing.assert_close(loss, expected)


def test_weights_of_one_change_nothing():
    logits, target = torch.randn(2, 3, 6, 6), torch.randint(0, 3, (2, 6, 6))
    for reverse in (0.0, 0.1):
        torch.testing.assert_close(
            consistency_loss(logits, target, 255, reverse, torch.ones(3)),
            consistency_loss(logits, target, 255, reverse),
        )


@pytest.mark.parametrize('weight', [torch.tensor([0.0, 1.0, 1.0]), torch.ones(3)])
def test_nothing_that_counts_is_exactly_zero(weight):
    logits = torch.randn(2, 3, 6, 6, requires_grad=True)
    target = torch.full((2, 6, 6), 255 if weight[0] else 0)
    loss, _ = consistency_loss(logits, target, class_weight=weight)
    assert loss == 0
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad.any()


# ----------------------------------------------------------------------------- the step
def test_the_student_alone_sees_the_strong_view(monkeypatch):
    seen = {}
    model = balanced(mix=None)
    monkeypatch.setattr(model, 'strong_view', lambda images: images + 100)
    for name, network in (('student', model.backbone), ('teacher', model.teacher.backbone)):
        network.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
    inputs, samples = tiny.batch()
    model.loss(inputs, samples)
    torch.testing.assert_close(seen['student'][:2], inputs['sup'])
    torch.testing.assert_close(seen['student'][2:], inputs['unsup'] + 100)
    torch.testing.assert_close(seen['teacher'], inputs['unsup'])


def test_the_strong_view_changes_colors_in_the_images_own_scale():
    preprocessor = dict(
        type='SemiDataPreprocessor', mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0],
        size=tiny.CROP,
    )  # fmt: skip
    model = balanced(data_preprocessor=preprocessor)
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    images = (torch.rand(4, 3, *tiny.CROP) * 255 - mean) / std
    images = images.contiguous(memory_format=torch.channels_last)
    view = model.strong_view(images)
    assert not torch.allclose(view, images)
    pixels = view * std + mean
    assert pixels.min() >= -1e-3
    assert pixels.max() <= 255 + 1e-3
    assert view.is_contiguous(memory_format=torch.channels_last)


def test_every_parameter_learns():
    model = balanced()
    inputs, samples = tiny.batch()
    losses = model.loss(inputs, samples)
    assert set(losses) >= {'sup.decode.loss_ce', 'unsup.loss_ce'}
    tiny.total(losses).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_momentum_outside_its_range_is_named():
    tiny.assert_raises(ValueError, lambda: balanced(alignment_momentum=1.0), 'alignment_momentum')
