"""Both ways to a representation: the paper's decoder, and a branch on any mmseg head."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_u2pl.models import RepresentationHead
from mmseg_u2pl.models.heads.decode_head import logits_and_feature

SIZES = ((8, 16), (16, 8), (24, 4), (32, 2))
"""Channels and side of a four-level feature pyramid of 64×64 images."""
COMMON = dict(num_classes=5, channels=12, norm_cfg=dict(type='BN'), align_corners=False)
HEADS: dict[str, tuple[dict, int]] = {
    'FCNHead': (dict(in_channels=32, in_index=3, num_convs=1), 2),
    'DepthwiseSeparableASPPHead': (
        dict(in_channels=32, in_index=3, dilations=(1, 2), c1_in_channels=8, c1_channels=4),
        16,
    ),
    'UPerHead': (dict(in_channels=[8, 16, 24, 32], in_index=[0, 1, 2, 3]), 16),
    'SegformerHead': (dict(in_channels=[8, 16, 24, 32], in_index=[0, 1, 2, 3]), 16),
    'FPNHead': (
        dict(in_channels=[12] * 4, in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32]),
        16,
    ),
}
"""Settings of each head, and the side at which it classifies."""


def pyramid(channels=None):
    return [torch.randn(2, channels or own, side, side) for own, side in SIZES]


def u2pl_head(**settings):
    return MODELS.build(
        dict(
            type='U2PLHead', in_channels=32, in_index=3, low_level_channels=8, rep_channels=6,
            dilations=(1, 2), **COMMON, **settings,
        )
    )  # fmt: skip


# ----------------------------------------------------------------------- any mmseg head
@pytest.mark.parametrize('name', HEADS)
def test_the_feature_is_what_the_classifier_sees(name):
    settings, side = HEADS[name]
    head = MODELS.build(dict(type=name, **COMMON, **settings)).eval()
    inputs = pyramid(12 if name == 'FPNHead' else None)
    logits, feature = logits_and_feature(head, inputs)
    assert torch.equal(logits, head(inputs))
    assert torch.equal(logits, head.conv_seg(feature))
    branch = RepresentationHead(in_channels=head.channels, channels=4, out_channels=7).eval()
    assert branch(feature).shape == (2, 7, side, side)
    assert not head.conv_seg._forward_pre_hooks


@pytest.mark.parametrize('name', HEADS)
def test_a_gradient_of_the_representation_reaches_every_layer_before_the_classifier(name):
    settings, _ = HEADS[name]
    head = MODELS.build(dict(type=name, **COMMON, **settings)).train()
    branch = RepresentationHead(in_channels=12, channels=4, out_channels=7)
    rep = branch(logits_and_feature(head, pyramid(12 if name == 'FPNHead' else None))[1])
    (rep**2).sum().backward()
    without = {n for n, p in head.named_parameters() if p.grad is None}
    assert without == {'conv_seg.weight', 'conv_seg.bias'}


def test_a_head_without_classifier_is_refused():
    with pytest.raises(TypeError, match='Identity has no conv_seg'):
        logits_and_feature(nn.Identity(), pyramid())


def test_a_head_that_returns_more_than_logits_is_refused():
    class Several(nn.Module):
        conv_seg = nn.Identity()

        def forward(self, inputs):
            return self.conv_seg(inputs[0]), inputs

    with pytest.raises(TypeError, match='Several does not return the logits'):
        logits_and_feature(Several(), pyramid())


def test_a_hook_does_not_stay_behind_after_an_error():
    head = MODELS.build(dict(type='FCNHead', **COMMON, **HEADS['FCNHead'][0]))
    with pytest.raises(IndexError):
        logits_and_feature(head, pyramid()[:1])
    assert not head.conv_seg._forward_pre_hooks


def test_the_branch_by_hand():
    # 3×3 of ones over a constant image of 1: 9 in the middle, so 81 after the second
    branch = RepresentationHead(in_channels=1, channels=1, out_channels=2, dropout_ratio=0).eval()
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter.zero_()
        for module in branch.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.fill_(1)
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1)
                module.eps = 0.0
        branch.layers[-1].weight[1].fill_(-2)
        branch.layers[-1].bias.fill_(0.5)
    rep = branch(torch.ones(1, 1, 5, 5))
    assert rep[0, :, 2, 2].tolist() == [81.5, -161.5]  # neither clipped nor normalized


# ------------------------------------------------------------------- the paper's decoder
def test_the_paper_head_classifies_and_represents_at_stride_4():
    head = u2pl_head().eval()
    inputs = pyramid()
    logits, rep = head.forward_with_representation(inputs)
    assert logits.shape == (2, 5, 16, 16)
    assert rep.shape == (2, 6, 16, 16)
    assert torch.equal(head(inputs), logits)


def test_both_branches_are_stacks_of_the_same_shape():
    head = u2pl_head()

    def convolutions(module):
        return [tuple(m.weight.shape) for m in module.modules() if isinstance(m, nn.Conv2d)]

    f = [*convolutions(head.classifier), tuple(head.conv_seg.weight.shape)]
    assert f == [(12, 24, 3, 3), (12, 12, 3, 3), (5, 12, 1, 1)]
    assert convolutions(head.representation) == [*f[:2], (6, 12, 1, 1)]


def test_the_classifier_and_the_representation_share_only_the_fused_feature():
    head = u2pl_head().train()
    logits, rep = head.forward_with_representation(pyramid())
    rep.sum().backward()
    without = {n.split('.')[0] for n, p in head.named_parameters() if p.grad is None}
    assert without == {'classifier', 'conv_seg'}
    head.zero_grad()
    head(pyramid()).sum().backward()
    without = {n.split('.')[0] for n, p in head.named_parameters() if p.grad is None}
    assert without == {'representation'}
    assert logits.requires_grad


def test_the_low_level_feature_is_the_first():
    inputs = pyramid()
    head = u2pl_head().eval()
    before = head(inputs)
    changed = [inputs[0] + 1, *inputs[1:]]
    assert not torch.allclose(head(changed), before)
    changed = [inputs[0], inputs[1] + 1, *inputs[2:]]
    assert torch.equal(head(changed), before)


@pytest.mark.parametrize('align_corners', [False, True])
def test_align_corners_reaches_the_decoder(align_corners):
    head = u2pl_head()
    head.align_corners = align_corners
    fused = head.eval()._fuse(pyramid())
    corner = fused[:, 12:, 0, 0]  # the high half, up from 2×2 to 16×16
    inner = fused[:, 12:, 0, 1]
    assert torch.equal(corner, inner) is not align_corners
