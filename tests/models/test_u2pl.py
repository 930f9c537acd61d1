"""One training step of U²PL against the slow reference."""

import math

import numpy as np
import pytest
import reference
import tiny
import torch
import torch.nn.functional as F

from mmseg_u2pl.functional import apply_mix

MIX = tiny.always()


def ready(**config):
    """Teacher and student differ, the teacher's BatchNorm is in eval mode; α = 15."""
    return tiny.ready(**{'teacher': dict(norm='ema'), **config})


# -------------------------------------------------------------------- the losses by value
@pytest.mark.parametrize('mix', [None, MIX], ids=['not mixed', 'CutMix'])
@pytest.mark.parametrize('reverse', [0.0, 0.1])
def test_the_unsupervised_loss_is_the_references(boxes, mix, reverse):
    model = ready(mix=mix, reverse_weight=reverse, contrastive=None)
    inputs, samples = tiny.batch(pad_rows=4)
    images, padding = inputs['unsup'], tiny.labels_of(samples['unsup']) == 255
    pseudo = tiny.predict(model, 'teacher', images).argmax(1).masked_fill(padding, 255)
    assert len(pseudo.unique()) > 2
    if mix:
        images, pseudo = apply_mix(boxes, images, pseudo)
    # what is unreliable is read off the mixed images
    prob = tiny.predict(model, 'teacher', images).softmax(1)
    entropy = reference.entropy(prob.numpy())
    student = tiny.predict(model, 'student', images)

    losses = model.loss(inputs, samples)
    kept = pseudo.clone().numpy()
    places = reference.reliable_places(pseudo.numpy(), entropy, 85)
    kept[tuple(np.array(sorted(set(reference.pixels(kept)) - set(places))).T)] = 255
    loss, weight = reference.reliable_loss(student.numpy(), kept, reverse)
    assert losses['unsup.loss_ce'].item() == pytest.approx(loss, rel=1e-3)
    assert losses['semi/unsup_weight'].item() == pytest.approx(weight, rel=1e-3)
    share = len(places) / (pseudo != 255).sum().item()
    assert losses['semi/reliable_share'].item() == pytest.approx(share, rel=1e-3)
    threshold = reference.threshold(entropy, 85, pseudo.numpy() != 255)
    assert losses['semi/threshold'].item() == pytest.approx(threshold, rel=1e-4)


def test_the_supervised_loss_is_cross_entropy_on_labeled_pixels():
    model = ready(aux=True)
    inputs, samples = tiny.batch(pad_rows=4)
    losses = model.loss(inputs, samples)
    labels = tiny.labels_of(samples['sup'])
    logits = tiny.predict(model, 'student', inputs['sup'])
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(losses['sup.decode.loss_ce'], expected)
    aux = model.auxiliary_head(model.extract_feat(inputs['sup']))
    aux = F.interpolate(aux, tiny.CROP, mode='bilinear')
    expected = 0.4 * F.cross_entropy(aux, labels, ignore_index=255)
    torch.testing.assert_close(losses['sup.aux.loss_ce'], expected)


@pytest.mark.parametrize('mix', [None, MIX], ids=['not mixed', 'CutMix'])
def test_what_the_contrastive_loss_is_given(boxes, monkeypatch, mix):
    model = ready(mix=mix)
    given: list = []

    def record(rep, *others):
        given.extend((rep, *others))
        return rep.sum() * 0 + 8

    monkeypatch.setattr(model.contrastive, 'forward', record)
    inputs, samples = tiny.batch(pad_rows=4)
    losses = model.loss(inputs, samples)
    assert losses['contrast.loss_nce'].item() == 8
    rep, teacher_rep, teacher_logits, labels, pseudo, unreliable = given

    clean = inputs['unsup']
    images = apply_mix(boxes, clean)[0] if mix else clean
    both = torch.cat((inputs['sup'], images))
    with torch.no_grad():
        _, expected_rep = model.decode(model, model.extract_feat(both))
        teacher = model.decode(model.teacher, model.teacher.extract_feat(both))
    torch.testing.assert_close(rep.detach(), expected_rep)
    torch.testing.assert_close(teacher_logits, teacher[0])
    torch.testing.assert_close(teacher_rep, teacher[1])
    assert torch.equal(labels, tiny.labels_of(samples['sup']))
    expected = tiny.predict(model, 'teacher', clean).argmax(1)
    expected.masked_fill_(tiny.labels_of(samples['unsup']) == 255, 255)
    expected = apply_mix(boxes, expected)[0] if mix else expected
    assert torch.equal(pseudo, expected)
    assert unreliable.any()
    assert not unreliable[pseudo == 255].any()
    assert unreliable.sum() == round(0.15 * (pseudo != 255).sum().item())


# ---------------------------------------------------------------------- options and edges
@pytest.mark.parametrize(
    ('mix', 'norm', 'view'),
    [
        (None, 'ema', None),
        (MIX, 'batch', None),
        (tiny.always('ClassMix'), 'batch', dict(type='PhotometricView')),
        (dict(MIX, area=(0.1, 0.4)), 'ema', dict(type='PhotometricView', hue=0.0)),
    ],
    ids=['not mixed', 'CutMix', 'ClassMix and view', 'varied boxes and view'],
)
def test_every_combination_of_parts_trains(mix, norm, view):
    model = tiny.u2pl(mix=mix, view=view, teacher=dict(norm=norm), aux=True)
    before = [parameter.clone() for parameter in model.teacher.parameters()]
    losses = model.loss(*tiny.batch())
    assert {key for key in losses if 'loss' in key} == {
        'sup.decode.loss_ce',
        'sup.aux.loss_ce',
        'unsup.loss_ce',
        'contrast.loss_nce',
    }
    assert all(math.isfinite(value) for value in losses.values())
    assert losses['unsup.loss_ce'] > 0
    assert losses['contrast.loss_nce'] > 0
    tiny.total(losses).backward()
    students = [p for n, p in model.named_parameters() if not n.startswith('teacher')]
    assert all(parameter.grad is not None for parameter in students)
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    assert all(map(torch.equal, model.teacher.parameters(), before))


def test_the_student_alone_sees_the_strong_view(monkeypatch):
    seen: dict = {}
    model = tiny.u2pl(mix=None)
    monkeypatch.setattr(model.data_preprocessor, 'strong_view', lambda images, _: images + 100)
    for name, network in (('student', model), ('teacher', model.teacher)):
        network.backbone.register_forward_pre_hook(
            lambda _, args, name=name: seen.setdefault(name, []).append(args[0])
        )
    inputs, samples = tiny.batch()
    model.loss(inputs, samples)
    (student,), (clean, both) = seen['student'], seen['teacher']
    torch.testing.assert_close(student, torch.cat((inputs['sup'], inputs['unsup'] + 100)))
    torch.testing.assert_close(clean, inputs['unsup'])
    torch.testing.assert_close(both, torch.cat((inputs['sup'], inputs['unsup'])))


def test_the_official_norm_labels_clean_images_in_eval_mode():
    # only the pass over cat(labeled, mixed) uses, and gathers, batch statistics
    model = tiny.u2pl(teacher=dict(norm='batch'))
    modes = []
    model.teacher.backbone.bn1.register_forward_hook(lambda bn, *_: modes.append(bn.training))
    model.loss(*tiny.batch())
    assert modes == [False, True]


def test_without_a_contrastive_loss_there_is_no_branch_and_no_bank():
    model = tiny.u2pl(contrastive=None)
    losses = model.loss(*tiny.batch())
    assert {key for key in losses if 'loss' in key} == {'sup.decode.loss_ce', 'unsup.loss_ce'}
    assert not [name for name in model.state_dict() if 'rep' in name or 'bank' in name]
    assert model.class_statistics() == {}


def test_two_classes_have_anchors_and_negatives():
    model = ready(num_classes=2, contrastive=dict(delta_p=0.0))
    model.loss(*tiny.batch(num_classes=2))
    counts = model.class_statistics()
    assert set(counts) == set(tiny.COUNTS)
    for name, count in counts.items():
        assert count.sum() > 0, name


EDGES = {
    'plain': dict(),
    'all ignored': dict(pad_rows=32),
    'one unlabeled image': dict(unlabeled=1),
    'one class': dict(num_classes=1),
}


@pytest.mark.parametrize('edge', EDGES)
@pytest.mark.parametrize('dtype', [None, torch.bfloat16, torch.float16])
def test_losses_and_gradients_stay_finite(edge, dtype):
    model = tiny.u2pl(mix=MIX)
    inputs, samples = tiny.batch(**EDGES[edge])
    for _ in range(2):
        with torch.autocast('cpu', dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            losses = model.loss(inputs, samples)
        tiny.total(losses).backward()
    for key, value in losses.items():
        infinite = edge == 'all ignored' and key == 'semi/threshold'
        assert math.isfinite(value) is not infinite, key
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    if edge == 'all ignored':
        assert losses['unsup.loss_ce'] == losses['contrast.loss_nce'] == 0


# --------------------------------------------------------------------- diagnosis
def test_pseudo_labels_are_those_of_training():
    model = ready(mix=None, contrastive=None)
    inputs, samples = tiny.batch(pad_rows=4)
    valid = tiny.labels_of(samples['unsup']) != 255
    ((name, found),) = model.pseudo_labels(inputs['unsup'], valid).items()
    assert name == 'teacher'
    logits = tiny.predict(model, 'teacher', inputs['unsup'])
    torch.testing.assert_close(found.prob, logits.softmax(1), rtol=1e-4, atol=1e-6)
    assert torch.equal(found.label, logits.argmax(1).masked_fill(~valid, 255))
    assert not found.keep[~valid].any()
    share = model.loss(inputs, samples)['semi/reliable_share']
    assert found.keep.sum() / valid.sum() == pytest.approx(share.item())


def test_views_of_training():
    model = ready(mix=MIX, view=dict(type='PhotometricView', gray_prob=1.0))
    batch = model.stream_batch(*tiny.batch(pad_rows=4))
    mixed_view, strong = model.training_views(batch)
    images, valid = apply_mix(mixed_view.masks, batch.images_u, batch.valid)
    assert torch.equal(mixed_view.images, images)
    assert torch.equal(mixed_view.valid, valid)
    assert strong.title == 'strong view'
    assert strong.masks is None
    assert strong.images.std(1).max() < 1e-5  # gray
