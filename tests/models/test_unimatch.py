"""One training step of UniMatch and of UniMatch V2 against a slow reference, and their parts."""

from types import SimpleNamespace

import pytest
import reference
import tiny
import torch

from mmseg_u2pl.functional import apply_mix, box_masks, channels
from mmseg_u2pl.models import CutMix
from mmseg_u2pl.models.segmentors import semi as semi_module

METHODS = ['UniMatch', 'UniMatchV2']
both = pytest.mark.parametrize('kind', METHODS)
labelers = pytest.mark.parametrize(
    'teacher', [None, tiny.EMA], ids=['student labels', 'teacher labels']
)

# of the first and of the second strong view
BOXES = torch.stack((tiny.BOXES, torch.tensor([[8, 8, 24, 32], [0, 0, 16, 20]])))
SHIFTS = (0.1, -0.2)
"""What the strong views add to the mixed images."""


@pytest.fixture
def drawn(monkeypatch):
    """The draws of a step: boxes of both views, and every other channel is dropped."""
    boxes = iter(BOXES)
    monkeypatch.setattr(CutMix, 'masks', lambda *_: box_masks(next(boxes), *tiny.CROP))

    def every_other(ones, prob):
        assert prob == 0.5
        return every_other_channel(*ones.shape)

    monkeypatch.setattr(channels.F, 'dropout', every_other)
    monkeypatch.setattr(torch, 'randperm', lambda num: torch.arange(num - 1, -1, -1))


def every_other_channel(num, count):
    """(B, C): 0 and 2 in turn, shifted by one from image to image."""
    return (torch.arange(num)[:, None] + torch.arange(count)) % 2 * 2.0


def shift(model, monkeypatch):
    """Instead of colors, each view adds a number."""
    shifts = iter(SHIFTS)
    view = model.data_preprocessor
    monkeypatch.setattr(view, 'strong_view', lambda images, _: images + next(shifts))


def decoded(model, images, masks):
    """Student logits at image size and representations of images whose channels are multiplied."""
    with torch.no_grad():
        features = [
            level * masks(level.shape[1])[:, :, None, None] for level in model.extract_feat(images)
        ]
        logits, rep = model.decode(model, features)
    return model.upsample(logits, tiny.CROP), rep


def drops_of(kind):
    """What the channels of w, s1 and s2 are multiplied by: functions of C, (2, C)."""
    whole = torch.ones
    if kind == 'UniMatch':  # two labeled images come first
        return lambda c: every_other_channel(4, c)[2:], lambda c: whole(2, c), lambda c: whole(2, c)

    def first(c):  # of images 1, 0 in this order, the last one is undropped
        return torch.stack((every_other_channel(2, c)[0], torch.ones(c)))

    return None, first, lambda c: 2 - first(c)


def expected_step(model, kind, inputs, samples):
    """What w, s1 and s2 are to say: (label, q, logits, rep) of each, from the formulas."""
    labeler = 'student' if model.teacher is None else 'teacher'
    q, label = tiny.predict(model, labeler, inputs['unsup']).softmax(1).max(1)
    label = label.masked_fill(tiny.labels_of(samples['unsup']) == 255, 255)
    drops = drops_of(kind)
    views = []
    if drops[0] is not None:
        views.append((label, q, *decoded(model, inputs['unsup'], drops[0])))
    for boxes, added, drop in zip(BOXES, SHIFTS, drops[1:], strict=True):
        images, *maps = apply_mix(boxes, inputs['unsup'], label, q)
        views.append((*maps, *decoded(model, images + added, drop)))
    return views


# ------------------------------------------------------------------------ the losses by value
@labelers
@both
def test_the_losses_are_the_reference(drawn, monkeypatch, kind, teacher):
    share = dict(feature_share=0.3) if kind == 'UniMatch' else {}
    model = tiny.ready(kind, teacher=teacher, unsup_weight=1.5, **share)
    inputs, samples = tiny.batch(pad_rows=4)
    values, kept = [], []
    for label, q, logits, _ in expected_step(model, kind, inputs, samples):
        maps = logits.double().numpy(), label.numpy(), q.numpy()
        value, reliable = reference.consistency_loss(*maps, 0.5)
        values.append(value)
        kept.append(reliable)
    weights = {
        'UniMatch': dict(loss_fp=1.5 * 0.3, loss_s1=1.5 * 0.35, loss_s2=1.5 * 0.35),
        'UniMatchV2': dict(loss_s1=0.75, loss_s2=0.75),
    }[kind]
    assert 0.2 < min(kept) <= max(kept) < 0.98

    shift(model, monkeypatch)
    plain = model.warmup_step(model.stream_batch(inputs, samples))
    losses = model.loss(inputs, samples)
    for (name, weight), value in zip(weights.items(), values, strict=True):
        assert losses[f'unsup.{name}'].item() == pytest.approx(weight * value, rel=1e-4), name
    names = {*(f'unsup.{name}' for name in weights), 'sup.decode.loss_ce'}
    assert {name for name in losses if 'loss' in name} == names
    torch.testing.assert_close(losses['sup.decode.loss_ce'], plain['sup.decode.loss_ce'])
    shown = kept[-2]  # of s1
    assert losses['semi/reliable_share'].item() == pytest.approx(shown, rel=1e-3)
    assert losses['semi/threshold'].item() == 0.5


def test_the_default_weights_are_the_papers():
    """(L_x + ¼·L_s1 + ¼·L_s2 + ½·L_fp) / 2 and (L_x + ½·(L_s1 + L_s2)) / 2, twice."""
    for kind, expected in (('UniMatch', (0.25, 0.25, 0.5)), ('UniMatchV2', (0.5, 0.5))):
        model = tiny.ready(kind, mix=None)
        model.consistency = lambda logits, view: (
            torch.ones(()), torch.zeros_like(view.label, dtype=torch.bool), {}
        )  # fmt: skip
        losses = model.loss(*tiny.batch())
        names = ('s1', 's2', 'fp')[: len(expected)]
        assert tuple(losses[f'unsup.loss_{name}'].item() for name in names) == expected


# ---------------------------------------------------------------------------- contrastive loss
@labelers
@both
def test_what_a_contrastive_loss_is_given(drawn, monkeypatch, kind, teacher):
    """One pass over labeled and clean images; what it says is mixed like the first view."""
    model = tiny.ready(kind, teacher=teacher, contrastive={})
    given: list = []
    passes: list = []

    def record(rep, *others):
        given.extend((rep, *others))
        return rep.sum() * 0 + 8

    monkeypatch.setattr(model.contrastive, 'forward', record)
    inputs, samples = tiny.batch(pad_rows=4)
    label, q, _, rep = expected_step(model, kind, inputs, samples)[-2]
    clean = torch.cat((inputs['sup'], inputs['unsup']))
    labeler = model.labeler()
    with torch.no_grad():
        expected = model.decode(labeler, labeler.extract_feat(clean))
        of_labeled = model.decode(model, model.extract_feat(inputs['sup']))[1]
    expected = [torch.cat((maps[:2], *apply_mix(tiny.COARSE, maps[2:]))) for maps in expected]

    shift(model, monkeypatch)
    handle = labeler.backbone.register_forward_pre_hook(lambda _, args: passes.append(args[0]))
    losses = model.loss(inputs, samples)
    handle.remove()
    assert losses['contrast.loss_nce'].item() == 8
    assert len(passes) == (1 if teacher else 3)  # the student's forwards come on top
    assert torch.equal(passes[0], clean)
    student_rep, label_rep, label_logits, labels, pseudo, unreliable = given
    torch.testing.assert_close(student_rep.detach(), torch.cat((of_labeled, rep)))
    torch.testing.assert_close(label_logits, expected[0])
    torch.testing.assert_close(label_rep, expected[1])
    assert not label_rep.requires_grad
    assert torch.equal(labels, tiny.labels_of(samples['sup']))
    assert torch.equal(pseudo, label)
    apart = (q - 0.5).abs() > 1e-5
    assert torch.equal(unreliable[apart], ((label != 255) & (q < 0.5))[apart])


# ---------------------------------------------------------------------------------- the step
@both
def test_what_the_student_sees(drawn, monkeypatch, kind):
    """Both views have the same partner and their own boxes; BatchNorm sees two groups of images."""
    model = tiny.semi(kind, teacher=None)
    seen: list = []
    modes: list = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.backbone.bn1.register_forward_hook(lambda bn, *_: modes.append(bn.training))
    inputs, samples = tiny.batch()
    shift(model, monkeypatch)
    model.loss(inputs, samples)
    weak, labeled, strong = seen
    assert modes == [False, True, True]
    assert torch.equal(weak, inputs['unsup'])
    own = (inputs['sup'], inputs['unsup']) if kind == 'UniMatch' else (inputs['sup'],)
    assert torch.equal(labeled, torch.cat(own))
    views = [
        apply_mix(boxes, inputs['unsup'])[0] + added
        for boxes, added in zip(BOXES, SHIFTS, strict=True)
    ]
    torch.testing.assert_close(strong, torch.cat(views))


@both
def test_without_patches_both_views_are_drawn_independently(kind):
    view, mix = dict(type='PhotometricView'), dict(type='CutMix', prob=1.0, area=(0.02, 0.4))
    model = tiny.semi(kind, view=view, mix=mix)
    seen: list = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.loss(*tiny.batch())
    first, second = seen[-1].chunk(2)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


# ------------------------------------------------------------------------------- who learns
@pytest.mark.parametrize(
    ('kind', 'key'),
    [('UniMatch', 'fp'), *((kind, name) for kind in METHODS for name in ('s1', 's2'))],
)
def test_a_loss_reaches_unlabeled_images_and_neither_labels_nor_the_teacher(kind, key):
    model = tiny.ready(kind, teacher=tiny.EMA, mix=None)
    inputs, samples = tiny.batch(3, 3)
    for images in inputs.values():
        images.requires_grad_()
    model.loss(inputs, samples)[f'unsup.loss_{key}'].backward()
    assert inputs['unsup'].grad.abs().sum((1, 2, 3)).min() > 0
    assert inputs['sup'].grad is None or not inputs['sup'].grad.any()
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    assert not model.weak_view(model.stream_batch(inputs, samples)).logits.requires_grad


@pytest.mark.parametrize('added', [{}, dict(contrastive=dict(delta_p=0.0))], ids=['plain', 'L_c'])
@pytest.mark.parametrize('parts', [dict(teacher=None), tiny.BALANCED], ids=['plain', 'all parts'])
@both
def test_every_parameter_learns_with_every_part(kind, parts, added):
    model = tiny.semi(kind, **{**parts, **added})
    losses = model.loss(*tiny.batch())
    if added:
        assert losses['contrast.loss_nce'] > 0
        assert losses['semi/bank_fill'] > 0
    tiny.total(losses).backward()
    assert tiny.without_gradient(model) == []


@pytest.mark.parametrize('kind', [*METHODS, 'FixMatch'])
def test_nothing_but_padding_is_exactly_zero_with_a_graph(kind):
    model = tiny.semi(kind)
    losses = model.loss(*tiny.batch(pad_rows=32))
    assert all(value == 0 for name, value in losses.items() if name.startswith('unsup.loss'))
    tiny.total(losses).backward()
    assert tiny.without_gradient(model) == []


def test_the_teacher_of_v2_starts_before_the_first_step_and_is_slow():
    model = tiny.semi('UniMatchV2', progress=(0, 2000))
    assert model.predictors == ('teacher', 'student')
    assert model.teacher.started
    momenta = [model.after_step({})['semi/ema_momentum'] for _ in range(3)]
    assert momenta == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    model.teacher.step = 10_000
    assert model.after_step({})['semi/ema_momentum'] == 0.996


@pytest.mark.parametrize(
    ('kind', 'settings', 'message'),
    [
        ('UniMatch', dict(unsup_weight=-1), 'unsup_weight .* -1'),
        ('UniMatch', dict(feature_share=1.5), r'feature_share .* 1\.5'),
        ('UniMatch', dict(feature_dropout=1.0), r'feature_dropout .* 1\.0'),
        ('UniMatchV2', dict(unsup_weight=-1), 'unsup_weight .* -1'),
    ],
)
def test_a_setting_outside_its_range_is_named_with_its_value(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        tiny.semi(kind, **settings)


@both
def test_checkpointing_in_several_processes_is_refused(kind, monkeypatch):
    model = tiny.semi(kind)
    runner, check = SimpleNamespace(max_iters=10), semi_module.SemiSegmentor.check
    model.backbone.with_cp = True
    check(model, runner)
    monkeypatch.setattr(semi_module, 'get_world_size', lambda: 2)
    tiny.assert_raises(ValueError, lambda: check(model, runner), 'with_cp=True', '2 passes')
    model.backbone.with_cp = False
    check(model, runner)
