"""L_c: where the randomness is removed its exact value, otherwise its mean."""

import math
import re
from typing import Any

import numpy as np
import pytest
import reference
import tiny
import torch
from torch.nn import functional as F

from mmseg_u2pl.functional import maps
from mmseg_u2pl.models import UnreliableContrastiveLoss
from mmseg_u2pl.models.losses import contrastive_loss

SMALL: dict[str, Any] = dict(
    num_anchors=4, num_negatives=2, bank_size=16, channels=2, low_rank=1, loss_weight=1.0
)


def arguments(labeled, unlabeled=()):
    """What the loss takes, of pixels (teacher p, label or unreliable, student z, teacher z).

    Every image is one pixel; a label is a class or 255, ``'?'`` is an unreliable pixel.
    """
    pixels = [*labeled, *unlabeled]
    rep, teacher_rep = (
        torch.tensor([pixel[i] for pixel in pixels], dtype=torch.float)[:, :, None, None]
        for i in (2, 3)
    )
    prob = torch.tensor([pixel[0] for pixel in pixels])
    unreliable = [pixel[1] == '?' for pixel in unlabeled]
    label = [1 if pixel[1] == '?' else pixel[1] for pixel in pixels]
    return (
        rep.requires_grad_(),
        teacher_rep,
        prob.log()[:, :, None, None],
        torch.tensor(label[: len(labeled)], dtype=torch.long).view(-1, 1, 1),
        torch.tensor(label[len(labeled) :], dtype=torch.long).view(-1, 1, 1),
        torch.tensor(unreliable, dtype=torch.bool).view(-1, 1, 1),
    )


def run(module, *pixels):
    """The loss of pixels, and what it left in ``counts``."""
    return module(*arguments(*pixels)), module.counts


def nce(*cosines, negatives=2):
    """InfoNCE at τ = ½ of the positive's and the (repeated) negative's cosine."""
    positive, negative = cosines
    return math.log(1 + negatives * math.exp(2 * (negative - positive)))


def near(value):
    return pytest.approx(value, rel=1e-4)


EAST, NORTH, WEST = (1.0, 0.0), (0.0, 2.0), (-3.0, 0.0)
SURE_0, SURE_1 = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)
TIED_01 = (0.45, 0.46, 0.09)


# -------------------------------------------------------------------------- exact values
def test_one_anchor_and_one_negative_by_hand():
    # class 0: its anchor is the sure pixel; its negative the pixel whose ŷ = 1 has rank(0) = 1.
    # classes 1 and 2 have no anchor. Positive: the teacher's EAST against the student's NORTH
    loss, counts = run(
        UnreliableContrastiveLoss(3, **SMALL),
        [(SURE_0, 0, NORTH, EAST)],
        [(TIED_01, '?', WEST, WEST)],
    )
    assert loss.item() == near(nce(0, 0))  # cos(N, E) = cos(N, W) = 0: ln 3
    loss, counts = run(
        UnreliableContrastiveLoss(3, **SMALL),
        [(SURE_0, 0, EAST, EAST)],
        [(TIED_01, '?', WEST, WEST)],
    )
    assert loss.item() == near(nce(1, -1))
    assert {name: count.tolist() for name, count in counts.items()} == dict(
        anchors_labeled=[1, 0, 0],
        anchors_unlabeled=[0, 0, 0],
        negatives_labeled=[0, 0, 0],
        negatives_unlabeled=[1, 0, 1],  # ranks of the unreliable pixel: 1, 0, 2
        bank=[1, 0, 1],
    )


def test_the_positive_is_the_teachers_mean_and_the_query_the_students():
    # two anchors of class 0, labeled and unlabeled; teacher mean ½(EAST + NORTH) = (½, 1)
    loss, counts = run(
        UnreliableContrastiveLoss(3, **SMALL),
        [(SURE_0, 0, WEST, EAST)],
        [(SURE_0, 0, WEST, NORTH), (TIED_01, '?', NORTH, EAST)],
    )
    assert loss.item() == near(nce(-0.5 / math.sqrt(1.25), -1))
    assert counts['anchors_labeled'].tolist() == [1, 0, 0]
    assert counts['anchors_unlabeled'].tolist() == [1, 0, 0]


def test_a_labeled_pixel_is_a_negative_of_the_class_it_is_taken_for():
    # y = 1 but the teacher says 0: a negative of class 0, an anchor of none (p(1) = .1)
    loss, counts = run(
        UnreliableContrastiveLoss(3, **SMALL), [(SURE_0, 0, EAST, EAST), (SURE_0, 1, NORTH, WEST)]
    )
    assert loss.item() == near(nce(1, -1))
    assert counts['negatives_labeled'].tolist() == [1, 0, 0]


def test_the_mean_runs_over_the_classes_that_take_part():
    # class 0 as above; the pixel (.46, .45, .09) has rank(1) = 1: the only negative of class 1
    loss, _ = run(
        UnreliableContrastiveLoss(3, **SMALL),
        [(SURE_0, 0, EAST, EAST), (SURE_1, 1, NORTH, NORTH)],
        [(TIED_01, '?', WEST, WEST), ((0.46, 0.45, 0.09), '?', WEST, EAST)],
    )
    assert loss.item() == near((nce(1, -1) + nce(1, 0)) / 2)


@pytest.mark.parametrize(
    'pixels',
    [
        ([(SURE_0, 255, EAST, EAST)], [(TIED_01, '?', WEST, WEST)]),  # bank, but no anchor
        ([(SURE_0, 0, EAST, EAST)], [(SURE_0, 0, EAST, EAST)]),  # anchors, but empty banks
        ([(SURE_0, 255, EAST, EAST)], [(SURE_0, 255, EAST, EAST)]),  # neither
    ],
)
def test_no_class_takes_part_gives_zero_with_a_graph(pixels):
    inputs = arguments(*pixels)
    loss = UnreliableContrastiveLoss(3, **SMALL)(*inputs)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(inputs[0].grad, torch.zeros_like(inputs[0]))


def test_keys_are_pushed_before_negatives_are_drawn_and_stay():
    module = UnreliableContrastiveLoss(3, **SMALL)
    first, _ = run(module, [(SURE_0, 0, EAST, EAST)], [(TIED_01, '?', WEST, WEST)])
    assert first.item() == near(nce(1, -1))  # this step's keys are there
    second, counts = run(module, [(SURE_0, 0, EAST, EAST)])
    assert second.item() == near(nce(1, -1))  # and in the next step, without new ones
    assert counts['bank'].tolist() == [1, 0, 1]


def test_at_most_k_keys_of_a_class_enter_the_bank_in_a_step():
    module = UnreliableContrastiveLoss(3, **SMALL, keys_per_step=3)
    for step in range(1, 3):
        _, counts = run(module, [], [(TIED_01, '?', EAST, WEST)] * 8)
        assert counts['negatives_unlabeled'].tolist() == [8, 0, 8]
        assert counts['bank'].tolist() == [3 * step, 0, 3 * step]


def test_teacher_representations_get_no_gradient_and_the_anchors_do():
    pixels = [(SURE_0, 0, NORTH, EAST), (SURE_0, 255, NORTH, EAST)]
    inputs = arguments(pixels, [(TIED_01, '?', WEST, WEST)])
    UnreliableContrastiveLoss(3, **SMALL)(*inputs).backward()
    # ∂/∂z at NORTH points along x alone: toward the positive, away from the negative
    grad = inputs[0].grad[:, :, 0, 0]
    assert grad[0, 0] < -0.1
    assert grad[0, 1] == pytest.approx(0, abs=1e-7)
    assert not grad[1:].any()


# ---------------------------------------------------------------------------- statistics
@pytest.mark.parametrize('seed', range(4))
def test_its_mean_is_the_references(seed):
    rng = np.random.default_rng(seed)
    prob = rng.dirichlet([0.7] * 4, (4, 2, 3)).transpose(0, 3, 1, 2)
    label = rng.choice([0, 1, 2, 3, 255], (4, 2, 3))
    unreliable = rng.random((2, 2, 3)) < 0.5
    pseudo = label[2:].copy()
    unreliable &= pseudo != 255
    label[2:][unreliable] = 255
    rep, teacher_rep = rng.normal(size=(2, 4, 5, 2, 3))
    settings: dict[str, Any] = dict(delta_p=0.3, low_rank=1, high_rank=4, temperature=0.5)
    features = [torch.tensor(part).float() for part in (rep, teacher_rep, np.log(prob))]
    labels = [torch.tensor(part) for part in (label[:2], pseudo, unreliable)]
    module = UnreliableContrastiveLoss(
        4,
        channels=5,
        num_anchors=200_000,
        num_negatives=1,
        bank_size=100,
        loss_weight=1.0,
        **settings,
    )
    torch.manual_seed(seed)
    loss = module(*features, *labels)
    expected = reference.contrastive_expectation(
        rep, teacher_rep, prob, label, unreliable, 2, settings
    )
    assert (module.counts['bank'] > 0).any()
    # values lie in [ln(1 + e^-4), ln(1 + e^4)] = [0.02, 4.02]: a standard deviation below 2
    assert loss.item() == pytest.approx(expected, abs=3 * 2 / math.sqrt(200_000))


@pytest.mark.parametrize(
    ('setting', 'value', 'says'),
    [
        ('num_anchors', 0, 'at least 1, got 0'),
        ('num_negatives', 0, 'at least 1, got 0'),
        ('keys_per_step', 0, 'at least 1, got 0'),
        ('loss_weight', -0.1, 'not be negative, got -0.1'),
    ],
)
def test_a_loss_of_nothing_is_refused(setting, value, says):
    with pytest.raises(ValueError, match=f'contrastive.{setting} must (be )?{says}'):
        UnreliableContrastiveLoss(3, channels=2, bank_size=4, **{setting: value})


# --------------------------------------------------------------------- few and many classes
@pytest.mark.parametrize(('classes', 'chosen'), [(2, 1), (3, 1), (6, 1), (7, 3), (150, 3)])
def test_low_rank_fits_the_number_of_classes(classes, chosen):
    assert UnreliableContrastiveLoss(classes, channels=2, bank_size=1).low_rank == chosen


@pytest.mark.parametrize(
    ('settings', 'limit'),
    [
        (dict(num_classes=3, low_rank=3), 2),
        (dict(num_classes=2, low_rank=2), 1),
        (dict(num_classes=19, low_rank=5, high_rank=5), 4),
        (dict(num_classes=19, low_rank=0), 18),
    ],
)
def test_a_low_rank_without_negatives_is_refused_with_a_remedy(settings, limit):
    with pytest.raises(ValueError, match=f'low_rank={settings["low_rank"]} ') as error:
        UnreliableContrastiveLoss(channels=2, bank_size=1, **settings)
    message = str(error.value)
    assert f'must be in 1 ... {limit};' in message
    assert 'low_rank=None chooses a fitting one' in message
    assert re.search(rf'\b{settings["num_classes"]} classes', message)


def test_two_classes_have_negatives_of_both_kinds():
    pixels = [((0.9, 0.1), 0, EAST, EAST), ((0.8, 0.2), 1, NORTH, WEST)]
    _, counts = run(
        UnreliableContrastiveLoss(2, **SMALL), pixels, [((0.45, 0.55), '?', WEST, WEST)]
    )
    assert set(counts) == set(tiny.COUNTS)
    assert counts['negatives_labeled'].tolist() == [1, 0]
    assert counts['negatives_unlabeled'].tolist() == [1, 0]


# -------------------------------------------------------------------- momentum prototypes
def positive_after(*steps):
    """Class 0's positive after steps that show these teacher features (None: no anchor)."""
    module = UnreliableContrastiveLoss(2, **SMALL, momentum_prototypes=True)
    for feature in steps:
        label = 255 if feature is None else 0
        module(*arguments([((0.9, 0.1), label, EAST, feature or EAST)]))
    return module


def test_momentum_prototypes_by_hand():
    module = positive_after((4.0, 0.0), None, (0.0, 2.0), (1.0, 5.0))
    # (4, 0); unchanged; ½ (4, 0) + ½ (0, 2) = (2, 1); ⅔ (2, 1) + ⅓ (1, 5)
    torch.testing.assert_close(module.prototypes, torch.tensor([[5 / 3, 7 / 3], [0, 0]]))
    assert module.prototype_updates.tolist() == [3, 0]
    module.prototype_updates[0] = 100_000
    module(*arguments([((0.9, 0.1), 0, EAST, (0.0, 0.0))]))  # momentum at most 0.999
    torch.testing.assert_close(module.prototypes[0], 0.999 * torch.tensor([5 / 3, 7 / 3]))


def test_momentum_prototypes_are_the_positives():
    module = UnreliableContrastiveLoss(3, **SMALL, momentum_prototypes=True)
    module(*arguments([(SURE_0, 0, EAST, EAST)], [(TIED_01, '?', WEST, WEST)]))
    loss, _ = run(module, [(SURE_0, 0, EAST, NORTH)])
    # ½ EAST + ½ NORTH = (½, 1)
    assert loss.item() == near(nce(0.5 / math.sqrt(1.25), -1))


def test_momentum_prototypes_average_over_processes(monkeypatch):
    def all_reduce(packed):
        """The other process saw class 0 at (3, 0) and class 1 at (0, 7)."""
        packed += torch.tensor([[3.0, 0.0, 1.0], [0.0, 7.0, 1.0]])

    monkeypatch.setattr(contrastive_loss, 'get_world_size', lambda: 2)
    monkeypatch.setattr(contrastive_loss, 'all_reduce', all_reduce)
    module = positive_after((1.0, 2.0))
    assert module.prototypes.tolist() == [[2, 1], [0, 7]]
    assert module.prototype_updates.tolist() == [1, 1]


def test_part_by_part_is_all_at_once(monkeypatch):
    """The same draws, loss and gradient, however few queries and images a part has."""
    generator = torch.Generator().manual_seed(7)
    rep, teacher_rep = (torch.randn(4, 6, 5, 7, generator=generator) for _ in range(2))
    rep.requires_grad_()
    logits = 2 * torch.randn(4, 5, 5, 7, generator=generator)
    label = torch.randint(0, 5, (4, 5, 7), generator=generator)
    unreliable = torch.rand(2, 5, 7, generator=generator) < 0.4
    results = []
    for elements in (2**20, 2 * 3 * 6, 1):  # one part, two queries of three keys, one query
        monkeypatch.setitem(maps.ELEMENTS, 'cpu', elements)
        settings = dict(SMALL, channels=6, num_anchors=9, num_negatives=3)
        module = UnreliableContrastiveLoss(5, **settings)
        torch.manual_seed(0)
        loss = module(rep, teacher_rep, logits, label[:2], label[2:], unreliable)
        assert (module.counts['bank'] > 0).all()
        results.append((loss, *torch.autograd.grad(loss, rep), module.bank.features))
    for one in results[1:]:
        for got, expected in zip(one, results[0], strict=True):
            torch.testing.assert_close(got, expected)


def test_maps_come_to_the_size_of_the_representations(monkeypatch):
    """Labels and masks by nearest sampling, logits bilinearly: 8×8 and 2×2 to 4×4."""
    given: dict = {}

    def anchors(prob, label, delta_p):
        given.update(prob=prob, label=label)
        return torch.zeros_like(prob, dtype=torch.bool)

    def negatives(ranks, unreliable, low_rank, high_rank):
        given.update(unreliable=unreliable)
        return torch.zeros_like(ranks, dtype=torch.bool)

    monkeypatch.setattr(contrastive_loss, 'anchor_mask', anchors)
    monkeypatch.setattr(contrastive_loss, 'unlabeled_negative_mask', negatives)
    module = UnreliableContrastiveLoss(3, **SMALL)
    rep, logits = torch.randn(2, 2, 4, 4), torch.randn(2, 3, 2, 2)
    labels, pseudo = torch.randint(0, 3, (2, 1, 8, 8))
    pseudo[:, 6:] = 255
    unreliable = (torch.rand(1, 8, 8) < 0.5) & (pseudo != 255)
    module(rep, rep, logits, labels, pseudo, unreliable)
    enlarged = F.interpolate(logits, (4, 4), mode='bilinear', align_corners=False)
    torch.testing.assert_close(given['prob'], enlarged.softmax(1))
    assert torch.equal(given['label'][0], labels[0, ::2, ::2])
    assert torch.equal(given['label'][1], pseudo.masked_fill(unreliable, 255)[0, ::2, ::2])
    assert torch.equal(given['unreliable'], unreliable[:, ::2, ::2])


def test_the_weight_scales_the_loss_and_its_gradient():
    pixels = [(SURE_0, 0, NORTH, EAST)], [(TIED_01, '?', WEST, WEST)]
    losses = [
        run(UnreliableContrastiveLoss(3, **{**SMALL, 'loss_weight': weight}), *pixels)[0].item()
        for weight in (1.0, 0.25, 0.0)
    ]
    assert losses == [pytest.approx(value) for value in (losses[0], losses[0] / 4, 0)]


def test_a_new_run_forgets_the_class_means_and_keys_of_another():
    module = UnreliableContrastiveLoss(3, **SMALL, momentum_prototypes=True)
    pixels = [(SURE_0, 0, EAST, EAST)], [(TIED_01, '?', WEST, WEST)]
    run(module, *pixels)
    parts: Any = module.modules()
    for part in parts:
        if hasattr(part, 'restart'):
            part.restart()  # type: ignore[operator]
    assert module.bank.count.tolist() == [0, 0, 0]
    run(module, [(SURE_0, 0, EAST, NORTH)])
    torch.testing.assert_close(module.prototypes[0], torch.tensor(NORTH))  # not ½ EAST + ½ NORTH
