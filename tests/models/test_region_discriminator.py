"""The discriminator's grids, heads and features."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmseg_u2pl.models import RegionDiscriminator


def maps(size, classes=3, batch=1):
    return torch.rand(batch, classes, *size).softmax(1), torch.rand(batch, 3, *size)


@pytest.mark.parametrize(('size', 'regions'), [(321, 2), (512, 3), (800, 5)])
def test_grid_of_a_crop(size, regions):
    discriminator = RegionDiscriminator(num_classes=3).eval()
    with torch.no_grad():
        logits, feature = discriminator(*maps((size, size)))
    assert logits.shape == (1, 1, regions, regions)
    assert feature.shape == (1, 512)


@pytest.mark.parametrize('size', [(32, 48), (144, 192), (512, 512)])
@pytest.mark.parametrize('grid', [1, 3])
def test_an_adaptive_grid_at_any_size(size, grid):
    with torch.no_grad():
        logits, _ = RegionDiscriminator(3, grid=grid)(*maps(size, batch=2))
    assert logits.shape == (2, 1, grid, grid)


def test_an_adaptive_grid_averages_the_features_of_its_regions():
    discriminator = RegionDiscriminator(3, grid=2).eval()
    features = torch.rand(1, 512, 4, 6)
    discriminator.convs = nn.ModuleList()  # the head alone
    got = discriminator(features, torch.rand(1, 3, 4, 6))[0]
    weight, bias = discriminator.classifier.weight[0, :, 0, 0], discriminator.classifier.bias
    for row in range(2):
        for column in range(2):
            region = features[0, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
            expected = weight @ region.mean((1, 2)) + bias[0]
            torch.testing.assert_close(got[0, 0, row, column], expected)


@pytest.mark.parametrize(
    ('head', 'shape'), [('region', (2, 1, 2, 2)), ('scalar', (2, 1, 1, 1)), ('pixel', None)]
)
def test_shape_of_each_head(head, shape):
    with torch.no_grad():
        logits, feature = RegionDiscriminator(4, head=head)(*maps((330, 322), 4, batch=2))
    assert logits.shape == (shape or (2, 1, 330, 322))
    assert feature.shape == (2, 512)


def test_only_the_scalar_head_sees_the_image():
    prob, images = maps((64, 64))
    for head, discriminator, differs in (
        ('scalar', RegionDiscriminator(3, head='scalar'), True),
        ('pixel', RegionDiscriminator(3, head='pixel'), False),
        ('region', RegionDiscriminator(3, grid=2), False),
    ):
        discriminator.eval()
        one, two = discriminator(prob, images)[0], discriminator(prob, 1 - images)[0]
        assert torch.equal(one, two) != differs, head


def test_layers_are_the_papers():
    discriminator = RegionDiscriminator(num_classes=5)
    shapes = [
        tuple(weight.shape) for weight in discriminator.convs.parameters() if weight.dim() > 1
    ]
    assert shapes == [(64, 5, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4)]
    assert all(conv.stride == (2, 2) and conv.padding == (1, 1) for conv in discriminator.convs)
    assert discriminator.classifier.weight.shape == (1, 512, 10, 10)
    assert discriminator.classifier.stride == (10, 10)
    assert not any(isinstance(m, nn.modules.batchnorm._NormBase) for m in discriminator.modules())
    narrow = RegionDiscriminator(num_classes=5, channels=4, grid=2)
    assert [conv.out_channels for conv in narrow.convs] == [4, 8, 16, 32]
    assert narrow(*maps((32, 48), 5))[1].shape == (1, 32)


def test_forward_by_the_layers():
    """Every step written out, without dropout."""
    discriminator = RegionDiscriminator(3, grid=1).eval()
    prob, images = maps((32, 32), batch=2)
    x = prob
    for conv in discriminator.convs:
        x = F.leaky_relu(F.conv2d(x, conv.weight, conv.bias, stride=2, padding=1), 0.2)
    logits, feature = discriminator(prob, images)
    torch.testing.assert_close(feature, x.flatten(2).mean(2))
    linear = discriminator.classifier
    expected = feature @ linear.weight[0, :, 0, 0] + linear.bias
    torch.testing.assert_close(logits.flatten(), expected)


def test_logits_are_not_probabilities():
    discriminator = RegionDiscriminator(3, grid=1)
    assert discriminator.classifier.bias is not None
    nn.init.constant_(discriminator.classifier.bias, 7.0)
    nn.init.zeros_(discriminator.classifier.weight)
    assert discriminator(*maps((32, 32)))[0].item() == 7.0


def test_dropout_is_of_training_alone_and_can_be_left_out():
    discriminator = RegionDiscriminator(3, grid=2)
    inputs = maps((64, 64))
    calls = [discriminator(*inputs)[0] for _ in range(2)]
    assert not torch.equal(*calls)
    fixed = [discriminator(*inputs, dropout=False)[0] for _ in range(2)]
    assert torch.equal(*fixed)
    discriminator.eval()
    assert torch.equal(discriminator(*inputs)[0], fixed[0])


def test_one_image_does_not_change_another():
    discriminator = RegionDiscriminator(3, grid=2)
    prob, images = maps((64, 64), batch=2)
    together = discriminator(prob, images, dropout=False)[0]
    alone = discriminator(prob[:1], images[:1], dropout=False)[0]
    torch.testing.assert_close(together[:1], alone)


def test_every_parameter_gets_a_gradient():
    for settings in (dict(grid=2), dict(head='scalar'), dict(head='pixel')):
        discriminator = MODELS.build(dict(type='RegionDiscriminator', num_classes=3, **settings))
        discriminator(*maps((64, 64)))[0].sum().backward()
        assert all(parameter.grad is not None for parameter in discriminator.parameters())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(head='patch'), "head must be 'region', 'scalar' or 'pixel', got 'patch'"),
        (dict(grid=0), "grid=0 with head='region'"),
        (dict(head='pixel', grid=2), "grid=2 with head='pixel'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        RegionDiscriminator(3, **settings)


def test_a_crop_smaller_than_a_region_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r'144×192 pixels are smaller .* set grid=3'):
        RegionDiscriminator(3)(*maps((144, 192)))
