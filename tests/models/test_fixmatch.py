"""One training step of FixMatch against a slow reference, its labeler and its parts."""

import numpy as np
import pytest
import reference
import tiny
import torch

from mmseg_u2pl.functional import apply_mix


def balanced(**config):
    """A tiny model in training mode, with every part."""
    return tiny.semi('FixMatch', **{**tiny.BALANCED, **config})


# -------------------------------------------------------------------- the losses by value
@pytest.mark.parametrize('teacher', [None, tiny.EMA], ids=['student labels', 'teacher labels'])
@pytest.mark.parametrize('mix', [None, tiny.always()], ids=['not mixed', 'CutMix'])
def test_the_unsupervised_loss_is_the_reference(boxes, mix, teacher):
    model = tiny.ready('FixMatch', teacher=teacher, mix=mix, unsup_weight=1.5)
    inputs, samples = tiny.batch(pad_rows=4)
    images, padding = inputs['unsup'], tiny.labels_of(samples['unsup']) == 255
    labeler = 'teacher' if teacher else 'student'
    q, label = tiny.predict(model, labeler, images).softmax(1).max(1)
    label = label.masked_fill(padding, 255)
    if mix:
        images, label, q = apply_mix(boxes, images, label, q)
    logits = tiny.predict(model, 'student', images)
    expected, share = reference.consistency_loss(
        logits.double().numpy(), label.numpy(), q.numpy(), 0.5
    )
    assert 0.2 < share < 0.98
    losses = model.loss(inputs, samples)
    assert losses['unsup.loss_ce'].item() == pytest.approx(1.5 * expected, rel=1e-4)
    assert losses['semi/reliable_share'].item() == pytest.approx(share, rel=1e-3)
    assert losses['semi/threshold'].item() == pytest.approx(0.5)


def test_few_confident_pixels_are_a_small_loss():
    values = []
    for threshold in (0.0, 0.6, 1.0):
        selection = dict(type='ConfidenceThreshold', threshold=threshold)
        model = tiny.ready('FixMatch', teacher=tiny.EMA, selection=selection, mix=None)
        values.append(model.loss(*tiny.batch())['unsup.loss_ce'].item())
    assert values[0] > values[1] > values[2] == 0


# ------------------------------------------------------------------------- who labels
def test_the_student_labels_in_eval_mode_and_is_as_before_afterwards():
    model = tiny.semi('FixMatch', dropout=0.5)
    model.backbone.layer1.eval()  # as norm_eval, or a frozen stage
    modes = {name: module.training for name, module in model.named_modules()}
    seen = []
    for bn in (model.backbone.bn1, model.decode_head.convs[0].bn):
        bn.register_forward_hook(lambda bn, *_: seen.append((bn.training, len(_[0][0]))))
    before = {n: b.clone() for n, b in model.named_buffers() if 'num_batches' in n}
    model.loss(*tiny.batch(2, 3))
    # 3 clean images by running statistics; then labeled and strong ones by those of the batch
    assert seen == [(False, 3), (False, 3), (True, 5), (True, 5)]
    assert {name: module.training for name, module in model.named_modules()} == modes
    for name, count in before.items():
        moved = 0 if 'layer1' in name else 1
        assert model.get_buffer(name) == count + moved, name


def test_labels_of_the_student_do_not_depend_on_dropout_or_the_batch():
    model = tiny.ready('FixMatch', dropout=0.5).train()
    images = torch.randn(3, 3, *tiny.CROP)
    together, _ = model.label_pass(images)
    assert torch.equal(together, model.label_pass(images)[0])
    torch.testing.assert_close(together[:1], model.label_pass(images[:1])[0])
    assert not together.requires_grad


def test_an_error_while_labeling_restores_the_modes():
    model = tiny.semi('FixMatch')
    with pytest.raises(RuntimeError):
        model.label_pass(torch.randn(1, 1, 8, 8))  # one channel
    assert model.training
    assert all(module.training for module in model.modules())


# ------------------------------------------------------------------------------ the step
def test_the_student_alone_sees_the_strong_view_of_mixed_images(boxes, monkeypatch):
    seen: dict = {}
    model = balanced()
    monkeypatch.setattr(model.data_preprocessor, 'strong_view', lambda images, _: images + 100)
    for name, network in (('student', model), ('teacher', model.teacher)):
        network.backbone.register_forward_pre_hook(
            lambda _, args, name=name: seen.setdefault(name, []).append(args[0])
        )
    inputs, samples = tiny.batch()
    model.loss(inputs, samples)
    mixed = apply_mix(boxes, inputs['unsup'])[0]
    (student,), (clean,) = seen['student'], seen['teacher']  # one pass each
    torch.testing.assert_close(student, torch.cat((inputs['sup'], mixed + 100)))
    torch.testing.assert_close(clean, inputs['unsup'])


@pytest.mark.parametrize('mix', [None, tiny.always()], ids=['not mixed', 'CutMix'])
@pytest.mark.parametrize('teacher', [None, tiny.EMA], ids=['student labels', 'teacher labels'])
def test_what_a_contrastive_loss_is_given(boxes, monkeypatch, mix, teacher):
    """One pass over labeled and clean images; what it says is mixed like the images."""
    model = tiny.ready('FixMatch', teacher=teacher, mix=mix, contrastive={})
    given: list = []
    passes: list = []

    def record(rep, *others):
        given.extend((rep, *others))
        return rep.sum() * 0 + 8

    monkeypatch.setattr(model.contrastive, 'forward', record)
    labeler = model.labeler()
    handle = labeler.backbone.register_forward_pre_hook(lambda _, args: passes.append(args[0]))
    inputs, samples = tiny.batch(pad_rows=4)
    losses = model.loss(inputs, samples)
    handle.remove()
    assert losses['contrast.loss_nce'].item() == 8
    clean = torch.cat((inputs['sup'], inputs['unsup']))
    assert len(passes) == (1 if teacher else 2)  # the student's step comes on top
    assert torch.equal(passes[0], clean)

    rep, label_rep, label_logits, labels, pseudo, unreliable = given
    with torch.no_grad():
        images = torch.cat((inputs['sup'], *apply_mix(boxes, inputs['unsup']))) if mix else clean
        _, expected_rep = model.decode(model, model.extract_feat(images))
        expected = model.decode(labeler, labeler.extract_feat(clean))
    if mix:
        expected = tuple(torch.cat((m[:2], *apply_mix(tiny.COARSE, m[2:]))) for m in expected)
    torch.testing.assert_close(rep.detach(), expected_rep)
    torch.testing.assert_close(label_logits, expected[0])
    torch.testing.assert_close(label_rep, expected[1])
    assert not label_rep.requires_grad
    assert torch.equal(labels, tiny.labels_of(samples['sup']))
    prob = tiny.predict(model, 'teacher' if teacher else 'student', inputs['unsup']).softmax(1)
    q, label = prob.max(1)
    label = label.masked_fill(tiny.labels_of(samples['unsup']) == 255, 255)
    if mix:
        q, label = apply_mix(boxes, q, label)
    assert torch.equal(pseudo, label)
    apart = (q - 0.5).abs() > 1e-5
    assert torch.equal(unreliable[apart], ((label != 255) & (q < 0.5))[apart])


def test_every_parameter_learns_with_every_part():
    for settings in (tiny.BALANCED, {**tiny.BALANCED, 'contrastive': dict(delta_p=0.0)}):
        model = tiny.semi('FixMatch', **settings)
        losses = model.loss(*tiny.batch())
        assert set(losses) >= {'sup.decode.loss_ce', 'unsup.loss_ce', 'semi/threshold'}
        tiny.total(losses).backward()
        assert tiny.without_gradient(model) == []
        assert not any(p.grad is not None for p in model.teacher.parameters())


# --------------------------------------------------------------------------- alignment
def test_the_shares_are_tracked_in_every_step_and_in_the_warm_up():
    model = balanced(warmup_iters=1)
    inputs, samples = tiny.batch(pad_rows=4)
    labels = tiny.labels_of(samples['sup'])
    count = torch.bincount(labels[labels != 255], minlength=3)
    model.loss(inputs, samples)
    assert model.alignment.label_count.tolist() == count.tolist()
    assert not model.alignment.predicted_share.any()
    model.before_iter(1, 10)
    start = model.alignment.label_share
    logits, _ = model.label_pass(inputs['unsup'])
    model.loss(inputs, samples)
    assert model.alignment.label_count.tolist() == (2 * count).tolist()
    seen = torch.bincount(logits.argmax(1)[:, :-1].flatten(), minlength=3)  # a row is padding
    expected = 0.98 * model.alignment.label_share + 0.02 * seen / seen.sum()
    torch.testing.assert_close(model.alignment.predicted_share, expected, rtol=0, atol=1e-5)
    assert not torch.equal(start, model.alignment.label_share)


def test_pseudo_labels_follow_the_labeled_shares():
    model = balanced()
    model.alignment.label_count.copy_(torch.tensor([7e8, 2e8, 1e8]))
    model.alignment.predicted_share.copy_(torch.tensor([0.9, 0.05, 0.05]))
    # .5 · .7/.9 = .39 for class 0, .4 · .2/.05 = 1.6 for class 1, .1 · .1/.05 = .2 for class 2
    logits = torch.tensor([0.5, 0.4, 0.1]).log().view(1, 3, 1, 1).expand(1, 3, 8, 8)
    model.alignment.momentum = 1.0  # what it is shown here does not count
    inputs, samples = tiny.batch(0, 1)
    samples['unsup'][0].gt_sem_seg.data[:, 0] = 255
    samples['sup'] = [tiny.sample(torch.full((32, 32), 255))]
    label = model.label(logits, model.stream_batch(inputs, samples))
    assert (label[:, 1:] == 1).all()
    assert (label[:, 0] == 255).all()


def test_looking_at_pseudo_labels_changes_nothing():
    model = balanced().train()
    model.loss(*tiny.batch())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, valid = torch.randn(2, 3, *tiny.CROP), torch.ones(2, *tiny.CROP, dtype=torch.bool)
    ((name, found),) = model.pseudo_labels(images, valid).items()
    assert name == 'teacher'
    assert found.keep.float().mean() == pytest.approx(0.8, abs=0.01)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert set(tiny.semi('FixMatch').pseudo_labels(images, valid)) == {'student'}


def test_a_confidence_is_that_of_the_aligned_label():
    selection = dict(type='ConfidenceThreshold', threshold=0.8)
    model = balanced(selection=selection)
    model.alignment.label_count.copy_(torch.tensor([5e8, 4e8, 1e8]))
    model.alignment.predicted_share.copy_(torch.tensor([0.9, 0.05, 0.05]))
    # .6 · .5/.9 = .33 for class 0, .4 · .4/.05 = 3.2 for class 1: 0.91 of the sum
    logits = torch.tensor([0.6, 0.4, 1e-9]).log().view(1, 3, 1, 1).expand(1, 3, 8, 8)
    measure = model.measure_of(logits, (8, 8))
    torch.testing.assert_close(measure, torch.full_like(measure, 3.2 / (3.2 + 1 / 3)))
    # in training, and where tools look
    size, valid = tiny.CROP, torch.ones(1, *tiny.CROP, dtype=torch.bool)
    model.label_pass = lambda *_: (logits, None)
    model.alignment.momentum = 1.0
    inputs, samples = tiny.batch(0, 1)
    samples['sup'] = [tiny.sample(torch.full(size, 255))]
    weak = model.weak_view(model.stream_batch(inputs, samples))
    assert (weak.measure > 0.9).all()
    (found,) = model.pseudo_labels(inputs['unsup'], valid).values()
    assert found.keep.all()


def test_the_measure_is_not_aligned():
    """Alignment moves labels, not what the network is sure of."""
    results = []
    for predicted in ([0.7, 0.2, 0.1], [0.3, 0.4, 0.3]):
        model = balanced(mix=None, view=None)
        model.alignment.label_count.copy_(torch.tensor([7e8, 2e8, 1e8]))
        model.alignment.predicted_share.copy_(torch.tensor(predicted))
        given: list = []
        forward = model.selection.forward
        model.selection.forward = lambda *args, f=forward, g=given: g.extend(args) or f(*args)
        model.loss(*tiny.batch())
        results.append(given[0])
    np.testing.assert_array_equal(*results)
