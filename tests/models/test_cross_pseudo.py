"""CPS: losses by a slow reference, who learns from what, and predictions of two networks."""

import copy

import cross
import pytest
import tiny
import torch
from mmengine.config import ConfigDict
from mmengine.runner import load_checkpoint, save_checkpoint
from mmseg.registry import MODELS

from mmseg_u2pl.functional import cutmix_pair_masks
from mmseg_u2pl.models.segmentors import networks


def step(model, labeled=2, unlabeled=4, seed=5, **batch):
    """Losses and the step, with boxes that ``masks_of`` draws again."""
    inputs, samples = tiny.batch(labeled, unlabeled, **batch)
    torch.manual_seed(seed)
    losses, made = model.cross_step(model.stream_batch(inputs, samples))
    return losses, made, inputs


def masks_of(num, seed=5):
    torch.manual_seed(seed)
    return cutmix_pair_masks(num, *tiny.CROP)


def logits_of(network, images):
    low = network.decode_head(network.extract_feat(images))
    return torch.nn.functional.interpolate(low, tiny.CROP, mode='bilinear', align_corners=False)


# ------------------------------------------------------------------------------------ losses
@pytest.mark.parametrize('pad_rows', [0, 6])
def test_cross_losses_are_the_reference(pad_rows):
    model = cross.build(cps_weight=1.5).eval()
    losses, made, inputs = step(model, pad_rows=pad_rows)
    masks = masks_of(2)
    first, second = inputs['unsup'][:2], inputs['unsup'][2:]
    mixed = torch.where(masks[:, None], second, first)
    assert torch.equal(made.mixed, mixed)
    labels = []
    for network in model.networks:
        one, two = logits_of(network, first).argmax(1), logits_of(network, second).argmax(1)
        label = torch.where(masks, two, one)
        label[:, tiny.CROP[0] - pad_rows :] = 255
        labels.append(label)
    assert not torch.equal(*labels)
    for number, network, label in ((1, model, labels[1]), (2, model.network2, labels[0])):
        logits = logits_of(network, mixed).detach().numpy()
        expected = 1.5 * cross.slow_cross_entropy(logits, label.numpy())
        got = losses[f'cps.loss_network{number}'].item()
        assert got == pytest.approx(expected, rel=1e-5)
    valid = labels[0] != 255
    agreement = (labels[0] == labels[1])[valid].float().mean()
    torch.testing.assert_close(losses['semi/agreement'], agreement)


def test_supervised_losses_of_both_networks_and_their_auxiliary_heads():
    model = cross.build(aux=True).eval()
    losses, _, inputs = step(model)
    _, samples = tiny.batch(2, 4)
    for number, network in enumerate(model.networks, start=1):
        features = network.extract_feat(inputs['sup'])
        main = network.decode_head.loss(features, samples['sup'], {})['loss_ce']
        aux = network.auxiliary_head.loss(features, samples['sup'], {})['loss_ce']
        name = f'sup.network{number}'
        torch.testing.assert_close(losses[f'{name}.decode.loss_ce'], main)
        torch.testing.assert_close(losses[f'{name}.aux.loss_ce'], aux)
    assert {name for name in losses if 'loss' in name} == {
        *(f'sup.network{k}.{head}.loss_ce' for k in (1, 2) for head in ('decode', 'aux')),
        'cps.loss_network1',
        'cps.loss_network2',
    }


def test_only_padding_is_no_loss():
    model = cross.build()
    inputs, samples = tiny.batch(2, 4)
    for sample in samples['unsup']:
        sample.gt_sem_seg.data.fill_(255)
    losses = model.loss(inputs, samples)
    assert losses['cps.loss_network1'].item() == 0
    assert losses['semi/agreement'].item() == 0
    assert cross.without_gradient(model, losses) == []


def test_batchnorm_sees_both_streams_in_one_forward():
    model = cross.build()
    sizes = []
    for network in model.networks:
        network.backbone.register_forward_hook(lambda m, args, out: sizes.append(len(args[0])))
    model.loss(*tiny.batch(2, 4))
    assert sorted(sizes) == [4, 4, 4, 4]  # 2 labeled + 2 mixed; 4 clean ones to be labeled


# ------------------------------------------------------------------------------------ gradients
@pytest.mark.parametrize('number', [1, 2])
def test_a_network_learns_from_the_other_but_does_not_teach_by_gradient(number):
    model = cross.build()
    losses = model.loss(*tiny.batch(2, 4))
    grads = cross.gradients(model, {'loss': losses[f'cps.loss_network{number}']})
    of_two = {name for name in grads if name.startswith('network2.')}
    mine = of_two if number == 2 else set(grads) - of_two
    assert all(grads[name] is not None for name in mine)
    assert all(grads[name] is None for name in set(grads) - mine)


def test_images_that_each_loss_reaches():
    model = cross.build().eval()
    inputs, samples = tiny.batch(2, 4)
    for images in inputs.values():
        images.requires_grad_()
    losses = model.loss(inputs, samples)
    (losses['cps.loss_network1'] + losses['cps.loss_network2']).backward()
    assert inputs['sup'].grad.abs().sum() == 0
    assert (inputs['unsup'].grad.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize('progress', [(0, 10), (3, 10)], ids=['warm-up', 'after it'])
def test_every_parameter_gets_a_gradient(progress):
    head = dict(
        type='U2PLHead', in_channels=16, in_index=1, low_level_channels=8, rep_channels=8,
        dilations=(1, 2), channels=8, num_classes=3, norm_cfg=dict(type='BN'),
    )  # fmt: skip
    for change in ({}, dict(decode_head=head)):  # with a branch that CPS does not use
        model = cross.build(aux=True, warmup_iters=2, progress=progress, **change)
        assert cross.without_gradient(model, model.loss(*tiny.batch(2, 4))) == []


def test_in_the_warm_up_no_unlabeled_image_counts():
    model = cross.build(warmup_iters=2)
    inputs, samples = tiny.batch(2, 4)
    losses = model.loss(inputs, samples)
    assert {name for name in losses if 'loss' in name} == {
        'sup.network1.decode.loss_ce',
        'sup.network2.decode.loss_ce',
    }
    inputs['unsup'].requires_grad_()
    cross.gradients(model, model.loss(inputs, samples))
    assert inputs['unsup'].grad is None


# ------------------------------------------------------------------------------------ networks
def test_networks_share_the_pretrained_backbone_and_no_head(tmp_path):
    backbone = MODELS.build(tiny.networks()['backbone'])
    path = tmp_path / 'backbone.pth'
    torch.save(backbone.state_dict(), path)
    config = cross.config()
    config['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint=str(path))
    model = MODELS.build(config)
    model.init_weights()
    one, two = model.backbone.state_dict(), model.network2.backbone.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(one['conv1.weight'], backbone.conv1.weight)
    heads = [network.decode_head.conv_seg.weight for network in model.networks]
    assert not torch.equal(*heads)


def test_both_networks_are_in_the_state_and_train():
    model = cross.build()
    names = set(model.state_dict())
    assert {name for name in names if not name.startswith('network2.')} == {
        name.removeprefix('network2.') for name in names if name.startswith('network2.')
    }
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_building_leaves_the_config_alone():
    config = cross.config(aux=True, pretrained=None)
    before = copy.deepcopy(config)
    MODELS.build(config)
    assert config == before


# ------------------------------------------------------------------------------------ checkpoints
def supervised(tmp_path, aux=False):
    """A plain mmseg segmentor, and its checkpoint."""
    torch.manual_seed(9)
    model = MODELS.build(dict(type='EncoderDecoder', **tiny.networks(aux=aux)))
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    path = tmp_path / 'supervised.pth'
    save_checkpoint(dict(state_dict=model.state_dict(), meta={}), str(path))
    return model.eval(), str(path)


def test_pseudo_labels_are_those_of_each_network():
    model = cross.build().eval()
    images = torch.randn(2, 3, *tiny.CROP)
    valid = torch.ones(2, *tiny.CROP, dtype=torch.bool)
    valid[:, -5:] = False
    found = model.pseudo_labels(images, valid)
    assert set(found) == {'network1', 'network2'}
    for network, pseudo in zip(model.networks, found.values(), strict=True):
        prob = logits_of(network, images).softmax(1)
        torch.testing.assert_close(pseudo.prob, prob)
        assert torch.equal(pseudo.label, prob.argmax(1).masked_fill(~valid, 255))
        assert torch.equal(pseudo.keep, valid)


def test_the_view_of_training_is_the_mixed_pairs():
    model = cross.build()
    batch = model.stream_batch(*tiny.batch(2, 4))
    (view,) = model.training_views(batch)
    first, second = batch.images_u[:2], batch.images_u[2:]
    assert torch.equal(view.images, torch.where(view.masks[:, None], second, first))


@pytest.mark.parametrize('kind', ['CrossPseudo', 'RRN'])
def test_a_plain_checkpoint_is_loaded_into_both_networks(kind, tmp_path, monkeypatch):
    plain, path = supervised(tmp_path, aux=True)
    model, said = cross.build(kind, aux=True).eval(), []
    monkeypatch.setattr(networks, 'print_log', lambda text, **_: said.append(text))
    before = copy.deepcopy(model.state_dict())
    load_checkpoint(model, path, map_location='cpu')
    state = model.state_dict()
    for name, value in plain.state_dict().items():
        for prefix in ('', 'network2.'):
            assert torch.equal(state[prefix + name], value), prefix + name
    for name in (name for name in state if name.startswith('discriminators.')):
        assert torch.equal(state[name], before[name]), name
    assert len(said) == 1
    assert 'both start from it' in said[0]
    images = torch.randn(1, 3, *tiny.CROP)
    with torch.no_grad():
        expected = plain(images, mode='tensor')
        for predictor in model.predictors:
            model.predictor = predictor
            torch.testing.assert_close(model(images, mode='tensor'), expected)


def test_equal_networks_are_set_apart_by_dropout(tmp_path):
    model = cross.build(dropout=0.5)
    load_checkpoint(model, supervised(tmp_path)[1], map_location='cpu')
    grads = cross.gradients(model, model.loss(*tiny.batch(2, 4)))
    name = 'decode_head.conv_seg.weight'
    assert not torch.equal(grads[name], grads[f'network2.{name}'])


def test_torch_loads_it_too_and_names_what_is_missing(tmp_path):
    plain, _ = supervised(tmp_path)
    missing = cross.build().load_state_dict(plain.state_dict(), strict=True)
    assert missing == ([], [])
    state = plain.state_dict()
    del state['decode_head.conv_seg.bias']
    missing, unexpected = cross.build().load_state_dict(state, strict=False)
    assert missing == ['decode_head.conv_seg.bias', 'network2.decode_head.conv_seg.bias']
    assert unexpected == []


def test_a_checkpoint_of_two_networks_keeps_them_apart(tmp_path, monkeypatch):
    saved, said = cross.build(seed=1), []
    monkeypatch.setattr(networks, 'print_log', lambda text, **_: said.append(text))
    path = tmp_path / 'cps.pth'
    save_checkpoint(dict(state_dict=saved.state_dict()), str(path))
    model = cross.build(seed=2)
    load_checkpoint(model, str(path), map_location='cpu', strict=True)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in saved.state_dict().items())
    assert said == []


# ------------------------------------------------------------------------------------ prediction
def spread(test_cfg=None):
    model = cross.build(**({'test_cfg': test_cfg} if test_cfg else {})).eval()
    return model, torch.randn(1, 3, *tiny.CROP)


@pytest.mark.parametrize(
    'test_cfg',
    [
        ConfigDict(mode='whole'),
        ConfigDict(mode='slide', crop_size=(24, 24), stride=(16, 16)),
    ],
    ids=['whole', 'slide'],
)
def test_prediction_is_the_mean_of_the_logits(test_cfg):
    model, images = spread(test_cfg)
    logits = {}
    with torch.no_grad():
        for name in model.predictors:
            model.predictor = name
            logits[name] = model.predict(images)[0].seg_logits.data
    torch.testing.assert_close(logits['mean'], (logits['network1'] + logits['network2']) / 2)
    assert (logits['network1'] - logits['network2']).abs().max() > 0.1


def test_each_predictor_is_its_network():
    model, images = spread()
    with torch.no_grad():
        one, two = (net.decode_head(net.extract_feat(images)) for net in model.networks)
        for predictor, expected in (
            ('network1', one),
            ('network2', two),
            ('mean', (one + two) / 2),
        ):
            model.predictor = predictor
            torch.testing.assert_close(model(images, mode='tensor'), expected)


# ------------------------------------------------------------------------------------ mistakes
def test_mistakes_are_named():
    tiny.assert_raises(
        ValueError, lambda: cross.build(cps_weight=-1), 'cps_weight must not be negative, got -1'
    )
    tiny.assert_raises(
        ValueError,
        lambda: cross.build().loss(*tiny.batch(2, 3)),
        '1 masks mix 2 maps, got 3',
    )
    tiny.assert_raises(ValueError, lambda: cross.build(predictor='teacher'), 'teacher', 'network2')
    for name, settings in (('teacher', dict(momentum=0.9)), ('contrastive', dict(bank_size=8))):
        tiny.assert_raises(
            ValueError,
            lambda n=name, s=settings: cross.build(**{n: s}),
            f'CrossPseudo has no {name}',
        )
