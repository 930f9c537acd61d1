"""One training step of U²PL against the slow reference."""

import math

import numpy as np
import pytest
import reference
import tiny
import torch
import torch.nn.functional as F

from mmseg_u2pl.functional import apply_mix
from mmseg_u2pl.models.segmentors import u2pl as module
from mmseg_u2pl.models.segmentors.u2pl import nearest

BOXES = torch.tensor([[0, 0, 32, 16], [4, 8, 20, 32]])
METAS = [dict(img_shape=tiny.CROP, pad_shape=tiny.CROP)] * 2


def ready(**config):
    """Teacher and student differ; evaluation mode, so that images do not influence each other."""
    model = tiny.u2pl(teacher=False, **{'teacher_norm': 'ema', **config}).eval()
    classifier = model.decode_head.conv_seg
    with torch.no_grad():  # predictions of all classes, some sure and some not
        logits = model.decode_head(model.extract_feat(torch.randn(8, 3, *tiny.CROP)))
        scale = 1 / logits.std((0, 2, 3))
        classifier.weight.mul_(scale.view(-1, 1, 1, 1))
        classifier.bias.sub_(logits.mean((0, 2, 3))).mul_(scale)
        model.teacher.copy_from(model)
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not name.startswith('teacher'):
                tensor.mul_(1 + 0.2 * torch.rand_like(tensor))
    model.set_progress(3, 12)  # α = 20 · (1 − ¼) = 15
    return model


def predict(model, name, images):
    model.predictor = name
    return model.encode_decode(images, METAS).detach()


def labels_of(samples):
    return torch.cat([sample.gt_sem_seg.data for sample in samples])


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Every step mixes with the same boxes."""
    monkeypatch.setattr(module, 'cutmix_boxes', lambda *_: BOXES.clone())
    return BOXES


# -------------------------------------------------------------------- the losses by value
@pytest.mark.parametrize('passes', [1, 2])
@pytest.mark.parametrize('mix', [None, 'cutmix', 'cutout'])
@pytest.mark.parametrize('reverse', [0.0, 0.1])
def test_the_unsupervised_loss_is_the_references(boxes, mix, passes, reverse):
    model = ready(
        mix=mix, mix_prob=1.0, teacher_passes=passes, reverse_weight=reverse, contrastive=None
    )
    inputs, samples = tiny.batch(pad_rows=4)
    images, pads = inputs['unsup'], labels_of(samples['unsup'])
    logits = predict(model, 'teacher', images)
    pseudo = logits.argmax(1).masked_fill(pads == 255, 255)
    assert len(pseudo.unique()) > 2
    entropy = torch.tensor(reference.entropy(logits.softmax(1).numpy()))
    if mix == 'cutmix':
        images, pseudo, entropy = apply_mix(boxes, images, pseudo, entropy)
    if mix == 'cutout':
        images = images.clone()
        for i, (y1, x1, y2, x2) in enumerate(boxes.tolist()):
            images[i, :, y1:y2, x1:x2] = 0
            pseudo[i, y1:y2, x1:x2] = 255
    if passes == 2:  # what is unreliable is read off the mixed images
        entropy = torch.tensor(
            reference.entropy(predict(model, 'teacher', images).softmax(1).numpy())
        )
    student = predict(model, 'student', images)

    losses = model.loss(inputs, samples)
    kept = pseudo.clone().numpy()
    places = reference.reliable_places(pseudo.numpy(), entropy.numpy(), 85)
    kept[tuple(np.array(sorted(set(reference.pixels(kept)) - set(places))).T)] = 255
    loss, weight = reference.consistency_loss(student.numpy(), kept, reverse)
    assert losses['unsup.loss_ce'].item() == pytest.approx(loss, rel=1e-3)
    assert losses['semi/unsup_weight'].item() == pytest.approx(weight, rel=1e-3)
    share = len(places) / (pseudo != 255).sum().item()
    assert losses['semi/reliable_share'].item() == pytest.approx(share, rel=1e-3)
    threshold = reference.threshold(entropy.numpy(), 85, pseudo.numpy() != 255)
    assert losses['semi/threshold'].item() == pytest.approx(threshold, rel=1e-4)


def test_the_supervised_loss_is_cross_entropy_on_labeled_pixels():
    model = ready(aux=True)
    inputs, samples = tiny.batch(pad_rows=4)
    losses = model.loss(inputs, samples)
    labels = labels_of(samples['sup'])
    expected = F.cross_entropy(predict(model, 'student', inputs['sup']), labels, ignore_index=255)
    torch.testing.assert_close(losses['sup.decode.loss_ce'], expected)
    aux = model.auxiliary_head(model.extract_feat(inputs['sup']))
    aux = F.interpolate(aux, tiny.CROP, mode='bilinear')
    expected = 0.4 * F.cross_entropy(aux, labels, ignore_index=255)
    torch.testing.assert_close(losses['sup.aux.loss_ce'], expected)


@pytest.mark.parametrize('passes', [1, 2])
@pytest.mark.parametrize('mix', [None, 'cutmix'])
def test_what_the_contrastive_loss_is_given(boxes, monkeypatch, mix, passes):
    model = ready(mix=mix, mix_prob=1.0, teacher_passes=passes, contrastive_weight=0.25)
    given: dict = {}

    def record(rep, teacher_rep, prob, label, unreliable, num_labeled):
        names = ['rep', 'teacher_rep', 'prob', 'label', 'unreliable', 'num_labeled']
        given.update(
            zip(names, (rep, teacher_rep, prob, label, unreliable, num_labeled), strict=True)
        )
        return rep.sum() * 0 + 8, {}

    monkeypatch.setattr(model.contrastive, 'forward', record)
    inputs, samples = tiny.batch(pad_rows=4)
    losses = model.loss(inputs, samples)
    assert losses['contrast.loss_nce'].item() == 2  # ¼ · 8

    clean = inputs['unsup']
    images = apply_mix(boxes, clean)[0] if mix else clean
    both = torch.cat((inputs['sup'], images))
    with torch.no_grad():
        _, rep = model.decode(model, model.extract_feat(both))
        low, teacher_rep = model.decode(model.teacher, model.teacher.extract_feat(both))
        low_clean, rep_clean = model.decode(model.teacher, model.teacher.extract_feat(clean))
    if passes == 1 and mix:  # the outputs of clean images, mixed by the same boxes at stride 4
        coarse = torch.tensor([[0, 0, 8, 4], [1, 2, 5, 8]])
        low = torch.cat((low[:2], *apply_mix(coarse, low_clean)))
        teacher_rep = torch.cat((teacher_rep[:2], *apply_mix(coarse, rep_clean)))
    torch.testing.assert_close(given['rep'].detach(), rep)
    torch.testing.assert_close(given['teacher_rep'], teacher_rep)
    torch.testing.assert_close(given['prob'], low.softmax(1))
    assert given['num_labeled'] == 2
    assert torch.equal(given['label'][:2], labels_of(samples['sup'])[:, ::4, ::4])
    # an unlabeled pixel is unreliable, labeled with its pseudo-label, or neither (a pad)
    pseudo = predict(model, 'teacher', clean).argmax(1)
    pseudo = (apply_mix(boxes, pseudo)[0] if mix else pseudo)[:, ::4, ::4]
    label, unreliable = given['label'][2:], given['unreliable']
    assert (label[unreliable] == 255).all()
    assert torch.equal(label[label != 255], pseudo[label != 255])
    pad = torch.zeros_like(unreliable)
    pad[:, 7] = True
    assert torch.equal((label == 255) & ~unreliable, pad)
    assert unreliable.any()


def test_nearest_sampling_is_torchs():
    maps = torch.randint(0, 255, (2, 33, 47))
    for size in ((9, 12), (33, 47), (16, 24)):
        expected = F.interpolate(maps[None].float(), size, mode='nearest')[0].long()
        assert torch.equal(nearest(maps, torch.Size(size)), expected)


# ---------------------------------------------------------------------- options and edges
@pytest.mark.parametrize('mix', [None, 'cutmix', 'classmix', 'cutout'])
@pytest.mark.parametrize('passes', [1, 2])
@pytest.mark.parametrize('norm', ['ema', 'batch'])
def test_every_combination_of_options_trains(mix, passes, norm):
    model = tiny.u2pl(mix=mix, mix_prob=1.0, teacher_passes=passes, teacher_norm=norm, aux=True)
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


def test_the_official_norm_labels_clean_images_in_evaluation_mode():
    # only the pass over cat(labeled, mixed) uses, and gathers, batch statistics
    model = tiny.u2pl(teacher_norm='batch', teacher_passes=2)
    modes = []
    model.teacher.backbone.bn1.register_forward_hook(lambda bn, *_: modes.append(bn.training))
    model.loss(*tiny.batch())
    assert modes == [False, True]


def test_without_a_contrastive_loss_there_is_no_branch_and_no_bank():
    model = tiny.u2pl(contrastive=None)
    losses = model.loss(*tiny.batch())
    assert {key for key in losses if 'loss' in key} == {'sup.decode.loss_ce', 'unsup.loss_ce'}
    assert not [name for name in model.state_dict() if 'rep' in name or 'bank' in name]
    assert model.class_counts == {}


def test_two_classes_have_anchors_and_negatives():
    model = ready(num_classes=2, contrastive=dict(delta_p=0.0))
    model.loss(*tiny.batch(num_classes=2))
    assert set(model.class_counts) == set(tiny.COUNTS)
    for name, count in model.class_counts.items():
        assert count.sum() > 0, name


def test_mixing_happens_in_the_given_share_of_steps(monkeypatch):
    model = tiny.u2pl(mix_prob=0.3)
    images, pseudo = torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
    torch.manual_seed(0)
    mixed = sum(model._mix(images, pseudo)[2] is not None for _ in range(2000))
    assert mixed == pytest.approx(600, abs=4 * math.sqrt(2000 * 0.3 * 0.7))


EDGES = {
    'plain': dict(),
    'all ignored': dict(pad_rows=32),
    'one unlabeled image': dict(unlabeled=1),
    'one class': dict(num_classes=1),
}


@pytest.mark.parametrize('edge', EDGES)
@pytest.mark.parametrize('dtype', [None, torch.bfloat16, torch.float16])
def test_losses_and_gradients_stay_finite(edge, dtype):
    model = tiny.u2pl(mix_prob=1.0)
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
