"""RRN: its losses by a slow reference, who learns from what, and each switch."""

import cross
import numpy as np
import pytest
import tiny
import torch
from mmseg.registry import MODELS
from torch.nn import functional as F

from mmseg_u2pl.models.losses.adversarial import discriminate, one_hot

NETWORKS = ('backbone', 'decode_head', 'network2')
L_NAMES = ('sup.', 'cps.', 'rrn.')


def rrn(**settings):
    """An RRN whose discriminators accept about half of the regions of ``step`` at γ = 0.5."""
    model = cross.build('RRN', **settings)
    for number, discriminator in enumerate(model.discriminators):
        torch.manual_seed(10 + number)
        for conv in discriminator.convs:
            torch.nn.init.normal_(conv.weight, std=(2 / conv.weight[0].numel()) ** 0.5)
        torch.nn.init.normal_(discriminator.classifier.weight)
    if not settings.get('warmup_iters'):
        model.eval()
        _, made = step(model)
        maps = torch.cat([logits.softmax(1) for logits in made.logits_m])
        images = made.mixed.repeat(2, 1, 1, 1)
        with torch.no_grad():
            for discriminator in model.discriminators:
                region_logits = discriminator(maps, images)[0]
                scale = 1 / region_logits.std()
                discriminator.classifier.weight.mul_(scale)
                discriminator.classifier.bias.sub_(region_logits.median()).mul_(scale)
    return model.train()


def step(model, seed=5, **batch):
    """Losses, and what they were computed from."""
    inputs, samples = tiny.batch(2, 4, **batch)
    kept = {}
    cross_step = model.cross_step

    def keep(*arguments):
        kept['losses'], kept['step'] = cross_step(*arguments)
        return dict(kept['losses']), kept['step']

    model.cross_step = keep
    torch.manual_seed(seed)
    try:
        losses = model.loss(inputs, samples)
    finally:
        del model.cross_step
    return losses, kept['step']


def set_scores(model, monkeypatch, scores):
    """S_jk (2, 1, R, R) as given: scores[j, k] of discriminator j on network k's map."""
    select = model._selection_losses
    monkeypatch.setattr(model, '_selection_losses', lambda made, _: select(made, scores))


def names(losses, prefix):
    return {name for name in losses if name.startswith(prefix) and 'loss' in name}


# ------------------------------------------------------------------------------ the whole of L
@pytest.mark.parametrize(
    ('target', 'vote', 'pad_rows'),
    [('self', 'sum', 6), ('self', 'and', 0), ('cross', 'sum', 0), ('cross', 'and', 6)],
)
def test_losses_are_the_reference(target, vote, pad_rows):
    model = rrn(target=target, vote=vote, threshold=0.5, selection_weight=2.0).eval()
    losses, made = step(model, pad_rows=pad_rows)
    expected = cross.slow_rrn(model, made)
    assert 0 < expected['semi/accepted_own'] < 1
    assert 0 < expected['semi/accepted_both'] < expected['semi/accepted_crossed']
    assert {name for name in losses if name.startswith(('rrn.', 'disc.'))} == {
        name for name in expected if name.startswith(('rrn.', 'disc.'))
    }
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize(('share', 'accepted'), [(0.5, 0.5), (0.25, 0.25), (0.01, 0.125)])
def test_a_share_of_the_regions_is_accepted_whatever_their_scores(share, accepted):
    model = rrn(accepted_share=share, target='cross').eval()
    for discriminator in model.discriminators:
        discriminator.classifier.bias.data.sub_(9.0)  # no score comes near γ
    losses, made = step(model)
    for name, value in cross.slow_rrn(model, made).items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name
    for name in ('own', 'crossed'):
        assert losses[f'semi/accepted_{name}'].item() == accepted  # of 2 · 2 regions of 2 images


def test_equal_scores_have_no_upper_half(monkeypatch):
    model = rrn(accepted_share=0.5)
    equal = torch.full((2, 1, 2, 2), 0.3)
    set_scores(model, monkeypatch, {(j, k): equal for j in (0, 1) for k in (0, 1)})
    losses, _ = step(model)
    assert losses['semi/accepted_own'].item() == losses['rrn.loss_local'].item() == 0


def test_a_region_counts_zero_one_or_two_votes(monkeypatch):
    model = rrn().eval()
    high, low = 0.9, 0.1
    own = torch.tensor([[high, high], [low, low]]).expand(2, 1, 2, 2)
    crossed = torch.tensor([[high, low], [high, low]]).expand(2, 1, 2, 2)
    set_scores(model, monkeypatch, {(0, 0): own, (1, 0): crossed, (1, 1): own, (0, 1): crossed})
    losses, made = step(model)
    half = tiny.CROP[0] // 2
    local = dynamic = torch.tensor(0.0)
    for logits in made.logits_m:
        loss = F.cross_entropy(logits, logits.argmax(1), reduction='none')
        local = local + loss[:, :half].mean()  # the upper regions
        dynamic = dynamic + loss[:, :, :half].mean()  # the left ones; upper left is in both
    torch.testing.assert_close(losses['rrn.loss_local'], local)
    torch.testing.assert_close(losses['rrn.loss_dynamic'], dynamic)
    for name, share in (('own', 0.5), ('crossed', 0.5), ('both', 0.25)):
        assert losses[f'semi/accepted_{name}'].item() == share


def test_a_grid_of_one_region_selects_whole_images(monkeypatch):
    model = rrn(discriminator=dict(grid=1)).eval()
    scores = torch.tensor([0.9, 0.1]).view(2, 1, 1, 1)
    set_scores(model, monkeypatch, {(j, k): scores for j in (0, 1) for k in (0, 1)})
    losses, made = step(model)
    expected = sum(F.cross_entropy(own[:1], own[:1].argmax(1)) for own in made.logits_m)
    torch.testing.assert_close(losses['rrn.loss_local'], expected)
    torch.testing.assert_close(losses['rrn.loss_dynamic'], expected)


@pytest.mark.parametrize('threshold', [1.0, 2.0])
def test_a_threshold_of_one_selects_nothing(threshold):
    model = rrn(threshold=threshold)
    losses, _ = step(model)
    for name in ('rrn.loss_local', 'rrn.loss_dynamic', 'semi/accepted_own'):
        assert losses[name].item() == 0
    assert cross.without_gradient(model, losses) == []


# ------------------------------------------------------------------------------------ is CPS
def test_without_its_weights_it_is_exactly_cps():
    plain = cross.build(aux=True)
    model = rrn(aux=True, matching_weight=0.0, selection_weight=0.0, threshold=0.5)
    model.load_state_dict(plain.state_dict(), strict=False)
    inputs, samples = tiny.batch(2, 4)
    grads, all_losses = [], []
    for own in (plain, model):
        torch.manual_seed(5)
        losses = own.loss(inputs, samples)
        all_losses.append(losses)
        grads.append(cross.gradients(own, losses))
    for name, value in all_losses[0].items():
        assert torch.equal(value, all_losses[1][name]), name
    assert all_losses[1]['semi/accepted_own'] > 0
    for name, grad in grads[0].items():
        assert torch.equal(grad, grads[1][name]), name


def test_the_networks_of_one_seed_are_those_of_cps():
    states = []
    for kind in ('CrossPseudo', 'RRN'):
        torch.manual_seed(3)
        model = MODELS.build(cross.config(kind))
        model.init_weights()
        states.append(model.state_dict())
    assert len(states[1]) > len(states[0])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


# ------------------------------------------------------------------------------------ gradients
def test_no_gradient_reaches_d_from_l_or_f_from_l_d():
    model = rrn(threshold=0.5)
    losses, _ = step(model)
    for prefixes, reached in ((L_NAMES, 'networks'), (('disc.',), 'discriminators')):
        part = {name: value for name, value in losses.items() if name.startswith(prefixes)}
        grads = cross.gradients(model, part)
        for name, grad in grads.items():
            mine = name.startswith('discriminators') == (reached == 'discriminators')
            assert (grad is not None) == mine, name
        losses, _ = step(model)


def test_each_discriminator_learns_from_its_own_network():
    model = rrn()
    for k in (0, 1):
        losses, _ = step(model)
        grads = cross.gradients(model, {'loss': losses[f'disc.loss_network{k + 1}']})
        reached = {name.split('.')[1] for name, grad in grads.items() if grad is not None}
        assert reached == {str(k)}


def test_feature_matching_trains_the_networks():
    model = rrn(threshold=2.0)
    losses, _ = step(model)
    grads = cross.gradients(model, {'loss': losses['rrn.loss_matching']})
    for network in NETWORKS:
        assert any(
            g.abs().sum() > 0
            for name, g in grads.items()
            if name.startswith(network) and g is not None
        )


@pytest.mark.parametrize(
    ('settings', 'batch'),
    [
        (dict(warmup_iters=2), {}),
        (dict(threshold=0.5), {}),
        (dict(threshold=2.0), {}),
        (dict(selftrain_warmup_iters=5), {}),
        (dict(discriminator_target='correctness'), {}),
        (dict(vote='and', target='cross'), {}),
        (dict(discriminator=dict(head='scalar')), {}),
        (dict(discriminator=dict(head='pixel')), {}),
        (dict(threshold=0.5), dict(pad_rows=tiny.CROP[0])),
    ],
    ids=['warm-up', 'after', 'empty', 'no self-training', 'correctness', 'and', 'scalar', 'pixel', 'pads'],
)  # fmt: skip
def test_every_parameter_gets_a_gradient(settings, batch):
    model = rrn(aux=True, **settings)
    losses = model.loss(*tiny.batch(2, 4, **batch))
    assert cross.without_gradient(model, losses) == []
    assert tiny.total(losses).isfinite()


def test_the_warm_up_moves_no_discriminator():
    model = rrn(warmup_iters=2)
    losses = model.loss(*tiny.batch(2, 4))
    assert not names(losses, 'rrn.')
    assert losses['disc.loss_idle'].item() == 0
    grads = cross.gradients(model, losses)
    assert all(g.eq(0).all() for name, g in grads.items() if name.startswith('discriminators'))


# ------------------------------------------------------------------------------------ switches
@pytest.mark.parametrize(('iteration', 'started'), [(0, False), (4, False), (5, True)])
def test_self_training_starts_after_the_first_epoch(iteration, started):
    model = rrn(threshold=0.5, selftrain_warmup_iters=5)
    model.before_iter(iteration, 10)
    losses, _ = step(model)
    assert losses['semi/accepted_own'] > 0
    for name in ('rrn.loss_local', 'rrn.loss_dynamic'):
        assert (losses[name] > 0) == started
    assert losses['rrn.loss_matching'] > 0
    assert losses['disc.loss_network1'] > 0


def test_its_warm_up_follows_that_on_labels_alone():
    model = rrn(threshold=0.5, warmup_iters=3, selftrain_warmup_iters=5)
    for iteration, started in ((3, False), (7, False), (8, True)):
        model.before_iter(iteration, 10)
        losses, _ = step(model)
        assert (losses['rrn.loss_local'] > 0) == started == model.selftrains


def test_a_correctness_discriminator_learns_shares_of_right_pixels():
    model = rrn(discriminator_target='correctness').eval()
    losses, made = step(model, pad_rows=20)  # the lower two regions: 4 of 16 rows, the rest pads
    for k, discriminator in enumerate(model.discriminators):
        logits = F.interpolate(made.logits_l[k].detach(), tiny.CROP, mode='bilinear')
        right, valid = logits.argmax(1) == made.batch.labels, made.batch.labels != 255
        share, count = cross.slow_share(right.numpy(), valid.numpy(), (2, 2))
        score = discriminator(logits.softmax(1), made.batch.images_l)[0].detach().sigmoid().numpy()
        bce = -share * np.log(score) - (1 - share) * np.log(1 - score)
        expected = bce[count > 0].mean()
        assert losses[f'disc.loss_network{k + 1}'].item() == pytest.approx(expected, rel=1e-4)
    assert (count > 0).mean() == 0.5


def test_scores_do_not_depend_on_dropout():
    model = rrn(dropout=0.0)
    prob, images = torch.rand(2, 3, *tiny.CROP).softmax(1), torch.rand(2, 3, *tiny.CROP)
    one, two = (discriminate(model.discriminators[0], prob, images)[0] for _ in range(2))
    assert torch.equal(one, two)


def test_pseudo_labels_keep_what_the_discriminator_of_a_network_accepts():
    model = rrn(threshold=0.5).eval()
    images = torch.randn(2, 3, *tiny.CROP)
    valid = torch.ones(2, *tiny.CROP, dtype=torch.bool)
    valid[:, -5:] = False
    found = model.pseudo_labels(images, valid)
    for pseudo, discriminator in zip(found.values(), model.discriminators, strict=True):
        with torch.no_grad():
            scores = discriminator(pseudo.prob, images / 255)[0].sigmoid().numpy()
        accepted = cross.slow_vote(scores, tiny.CROP, 0.5) > 0
        np.testing.assert_array_equal(pseudo.keep, accepted & valid.numpy())


def test_a_discriminator_sees_images_in_zero_to_one():
    mean, std = [120.0] * 3, [60.0] * 3
    preprocessor = dict(type='SemiDataPreprocessor', mean=mean, std=std, size=tiny.CROP)
    model = rrn(data_preprocessor=preprocessor)
    images = (torch.tensor([0.0, 127.5, 255.0]) - 120) / 60
    unit = model.data_preprocessor.unit_range(images.view(1, 1, 1, 3).expand(1, 3, 1, 3))
    torch.testing.assert_close(unit[0, 0, 0], torch.tensor([0.0, 0.5, 1.0]))


def test_one_hot_labels_by_hand():
    assert one_hot(torch.tensor([[[0, 2, 255]]]), 3)[0].tolist() == [
        [[1, 0, 0]],
        [[0, 0, 0]],
        [[0, 1, 0]],
    ]


def test_names_in_the_log():
    model = rrn()
    losses, _ = step(model)
    assert names(losses, 'sup.') == {f'sup.network{k}.decode.loss_ce' for k in (1, 2)}
    assert names(losses, 'cps.') == {'cps.loss_network1', 'cps.loss_network2'}
    assert names(losses, 'rrn.') == {'rrn.loss_matching', 'rrn.loss_local', 'rrn.loss_dynamic'}
    assert names(losses, 'disc.') == {'disc.loss_network1', 'disc.loss_network2'}
    watched = {name for name in losses if name.startswith('semi/')}
    assert watched == {
        f'semi/{name}'
        for name in (
            'accepted_own', 'accepted_crossed', 'accepted_both', 'd_real', 'd_fake', 'agreement'
        )
    }  # fmt: skip
    assert all(losses[name].dim() == 0 for name in watched)
    assert not any(losses[name].requires_grad for name in watched)
