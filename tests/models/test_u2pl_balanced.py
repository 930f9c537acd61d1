"""What the recipe changes in U²PL: labels aligned, believed class by class, under strong views."""

import pytest
import tiny
import torch

from mmseg_u2pl.functional import align_classes


def balanced(**config):
    """A tiny model of two unlabeled images a step, its classes' shares known."""
    config = {'type': 'U2PLBalanced', 'contrastive': None, 'teacher_passes': 1, **config}
    model = tiny.u2pl(**config)
    model.set_class_share(torch.tensor([0.7, 0.2, 0.1]))
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


def test_a_class_never_predicted_gains_no_more_than_tenfold():
    share = torch.tensor([0.5, 0.3, 0.2])
    predicted = torch.tensor([0.7, 0.3, 0.0])
    shift = align_classes(torch.zeros(1, 3), share, predicted)[0]
    torch.testing.assert_close(shift.exp(), torch.tensor([0.5 / 0.7, 1.0, 10.0]))


def test_shares_of_the_arg_max_start_at_the_labeled_ones_and_follow_slowly():
    model = balanced()
    torch.testing.assert_close(model.predicted_share, torch.tensor([0.7, 0.2, 0.1]))
    pads = torch.zeros(1, 4, 4, dtype=torch.long)
    pads[:, :, 2:] = 255  # the right half does not count
    low = torch.zeros(1, 3, 4, 4)
    low[:, 1] = 1  # class 1 in the upper half, 2 in the lower
    low[:, 2, 2:] = 2
    low[:, 0, :, 2:] = 9
    model._pseudo_label(low, pads)
    expected = 0.98 * torch.tensor([0.7, 0.2, 0.1]) + 0.02 * torch.tensor([0.0, 0.5, 0.5])
    torch.testing.assert_close(model.predicted_share, expected)


def test_a_resumed_run_keeps_its_shares():
    model = balanced()
    model.predicted_share.copy_(torch.tensor([0.1, 0.2, 0.7]))
    model.set_class_share(torch.tensor([0.7, 0.2, 0.1]))
    torch.testing.assert_close(model.predicted_share, torch.tensor([0.1, 0.2, 0.7]))


def test_pseudo_labels_follow_the_labeled_shares():
    model = balanced()
    model.predicted_share.copy_(torch.tensor([0.9, 0.05, 0.05]))
    # .5 · .7/.9 = .39 for class 0, .4 · .2/.05 = 1.6 for class 1, .1 · .1/.05 = .2 for class 2
    low = torch.tensor([0.5, 0.4, 0.1]).log().view(1, 3, 1, 1).expand(1, 3, 8, 8)
    pads = torch.zeros(1, 32, 32, dtype=torch.long)
    pads[:, 0] = 255
    label = model.eval()._pseudo_label(low, pads)
    assert (label[:, 1:] == 1).all()
    assert (label[:, 0] == 255).all()


def test_looking_at_pseudo_labels_changes_nothing():
    model = balanced().eval()
    images, pads = torch.randn(2, 3, *tiny.CROP), torch.zeros(2, *tiny.CROP, dtype=torch.long)
    before = model.predicted_share.clone()
    model.pseudo_labels(images, pads)
    assert torch.equal(model.predicted_share, before)


def test_state_is_saved():
    model, other = balanced(), balanced(seed=1)
    inputs, samples = tiny.batch()
    model.loss(inputs, samples)
    other.load_state_dict(model.state_dict())
    for name in ('class_share', 'predicted_share'):
        assert torch.equal(getattr(model, name), getattr(other, name))
    assert model.predicted_share.sum() == pytest.approx(1, abs=1e-5)


# ----------------------------------------------------------------------------- reliability
def test_the_same_percent_of_each_class_is_unreliable():
    model = balanced(unreliable_percent=50)
    pseudo = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 255]]])
    entropy = torch.tensor([[[0.1, 0.2, 0.3, 0.4], [0.9, 0.8, 0.7, 0.0]]])
    # medians: class 0 .25, class 1 .8, class 2 has none
    unreliable, threshold = model.unreliable(pseudo, entropy)
    assert unreliable.tolist() == [[[False, False, True, True], [True, True, False, False]]]
    assert threshold == pytest.approx((0.25 + 0.8) / 2)


def test_the_percent_does_not_fall():
    model = balanced(unreliable_percent=50)
    pseudo, entropy = torch.zeros(1, 1, 4, dtype=torch.long), torch.tensor([[[0.1, 0.2, 0.3, 0.4]]])
    for iteration in (0, 99):
        model.set_progress(iteration, 100)
        assert model.unreliable(pseudo, entropy)[0].sum() == 2


def test_nothing_but_pads_has_no_unreliable_pixel():
    pseudo = torch.full((1, 2, 2), 255)
    unreliable, threshold = balanced().unreliable(pseudo, torch.rand(1, 2, 2))
    assert not unreliable.any()
    assert threshold == 0


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
