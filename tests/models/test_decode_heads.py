"""mmseg's decode heads: those that work, and those that are refused by name at build."""

from typing import Any

import pytest
import tiny
import torch
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS

COMMON: dict[str, Any] = dict(
    norm_cfg=dict(type='BN'), channels=8, num_classes=3, in_channels=16, in_index=1
)
BOTH: dict[str, Any] = dict(in_channels=[8, 16], in_index=[0, 1])
GROUPS = dict(type='GN', num_groups=2)
WORK: dict[str, dict] = {
    'DepthwiseSeparableASPPHead': dict(dilations=(1, 2), c1_in_channels=8, c1_channels=4),
    'EMAHead': dict(ema_channels=8, num_bases=4, num_stages=1),
    'FPNHead': dict(BOTH, feature_strides=[4, 4]),
    'LightHamHead': dict(BOTH, ham_channels=8, ham_kwargs=dict(MD_R=4), norm_cfg=GROUPS),
    'PSPHead': dict(pool_scales=(1, 2)),
    'SegformerHead': BOTH,
    'U2PLHead': dict(low_level_channels=8, rep_channels=8, dilations=(1, 2)),
    'UPerHead': dict(BOTH, pool_scales=(1, 2)),
}
MASK_TRANSFORMER = dict(
    type='SegmenterMaskTransformerHead', num_layers=1, num_heads=2, embed_dims=8,
    **{**COMMON, 'norm_cfg': dict(type='LN')},
)  # fmt: skip
SE_LOSS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.2)
SEVERAL: dict[str, dict] = {
    'DAHead': dict(pam_channels=4),
    'DDRHead': {},
    'EncHead': dict(
        in_channels=[16], in_index=[1], num_codes=4, add_lateral=False, loss_se_decode=SE_LOSS
    ),
    'PIDHead': {},
}


def head(name, **settings):
    return {**COMMON, 'type': name, **settings}


def step(kind, **config):
    """One training step and a prediction; trainable parameters without a gradient."""
    model = tiny.semi(kind, **config)
    losses = model.loss(*tiny.batch())
    tiny.total(losses).backward()
    model.after_step(losses)
    (sample,) = model.eval().predict(torch.randn(1, 3, *tiny.CROP))
    assert sample.pred_sem_seg.data.shape == (1, *tiny.CROP)
    return tiny.without_gradient(model)


@pytest.mark.parametrize('name', WORK)
def test_heads_that_work_with_a_representation(name):
    contrastive = dict(delta_p=0.0)
    assert step('U2PL', decode_head=head(name, **WORK[name]), contrastive=contrastive) == []


@pytest.mark.parametrize('kind', ['FixMatch', 'MeanTeacher', 'U2PL', 'UniMatch', 'UniMatchV2'])
def test_a_head_without_conv_seg_works_where_no_representation_is_needed(kind):
    assert step(kind, decode_head=dict(MASK_TRANSFORMER), contrastive=None) == []


@pytest.mark.parametrize('kind', ['FixMatch', 'U2PL', 'UniMatch', 'UniMatchV2'])
def test_a_head_without_conv_seg_is_refused_where_one_is(kind):
    config = tiny.semi_config(kind, decode_head=dict(MASK_TRANSFORMER), contrastive={})
    tiny.assert_raises(
        TypeError, lambda: MODELS.build(config),
        'SegmenterMaskTransformerHead has no conv_seg', 'contrastive=None',
    )  # fmt: skip


@pytest.mark.parametrize('name', SEVERAL)
def test_a_head_that_returns_several_maps_is_refused(name):
    config = tiny.semi_config('FixMatch', decode_head=head(name, **SEVERAL[name]))
    tiny.assert_raises(
        TypeError, lambda: MODELS.build(config), f'{name} returns more than one map of logits'
    )


def test_a_head_that_is_not_one_of_mmsegs_is_refused():
    """Such as Mask2Former's, which returns queries and masks."""

    @MODELS.register_module(force=True)
    class QueryHead(torch.nn.Module):
        num_classes, out_channels, align_corners = 3, 3, False

    config = tiny.semi_config('FixMatch', decode_head=dict(type='QueryHead'))
    tiny.assert_raises(TypeError, lambda: MODELS.build(config), 'QueryHead returns more than one')


def test_a_head_with_another_loss_of_logits_works():

    @MODELS.register_module(force=True)
    class EdgeHead(FCNHead):
        def loss_by_feat(self, seg_logits, batch_data_samples):
            return {
                'loss_edge': 2 * super().loss_by_feat(seg_logits, batch_data_samples)['loss_ce']
            }

    settings = head('EdgeHead', num_convs=1, concat_input=False)
    assert step('FixMatch', decode_head=settings) == []


@pytest.mark.parametrize('kind', ['U2PL', 'CrossPseudo'])
def test_a_cascade_is_refused_and_so_is_a_head_that_needs_one(kind):
    fcn = tiny.networks()['decode_head']
    ocr = head('OCRHead', ocr_channels=4)
    for decode_head, named in (([fcn, ocr], 'cascade (FCNHead, OCRHead)'), (ocr, 'OCRHead takes')):
        config = dict(tiny.networks(), type=kind, decode_head=decode_head)
        tiny.assert_raises(TypeError, lambda c=config: MODELS.build(c), named, 'UPerHead')
    config = dict(tiny.networks(), type=kind, decode_head=[fcn, dict(type='PointHead')])
    tiny.assert_raises(TypeError, lambda: MODELS.build(config), 'cascade (FCNHead, PointHead)')


def test_several_auxiliary_heads():
    """As BiSeNetV2 and STDC have them; STDC's learns edges."""
    aux = tiny.networks(aux=True)['auxiliary_head']
    stdc = head(
        'STDCHead', in_channels=8, in_index=0, num_convs=1, num_classes=2, boundary_threshold=0.1,
        loss_decode=[dict(type='CrossEntropyLoss', loss_name='loss_edge')],
    )  # fmt: skip
    model = tiny.u2pl()
    model = tiny.u2pl(auxiliary_head=[aux, dict(aux, in_index=1, in_channels=16), stdc])
    losses = model.loss(*tiny.batch())
    assert {name for name in losses if name.startswith('sup.aux') and 'loss' in name} == {
        'sup.aux_0.loss_ce', 'sup.aux_1.loss_ce', 'sup.aux_2.loss_edge',
    }  # fmt: skip
    tiny.total(losses).backward()
    assert tiny.without_gradient(model) == []
    assert not any('auxiliary' in name for name in model.teacher.state_dict())


def test_bisenetv2():
    """A whole network of mmseg's zoo, narrow, with two of its auxiliary heads."""
    norm = dict(type='BN')
    aux = dict(
        type='FCNHead', channels=4, num_convs=1, num_classes=3, concat_input=False, norm_cfg=norm
    )
    config = dict(
        backbone=dict(
            type='BiSeNetV2', detail_channels=(4, 4, 8), semantic_channels=(4, 8, 8, 8),
            semantic_expansion_ratio=1, bga_channels=8, norm_cfg=norm,
        ),
        decode_head=head('FCNHead', in_channels=8, in_index=0, num_convs=1, concat_input=False),
        auxiliary_head=[dict(aux, in_channels=4, in_index=1), dict(aux, in_channels=8, in_index=2)],
    )  # fmt: skip
    model = tiny.u2pl(**config)
    losses = model.loss(*tiny.batch(size=(64, 64)))
    assert {'sup.aux_0.loss_ce', 'sup.aux_1.loss_ce', 'contrast.loss_nce'} <= set(losses)
    tiny.total(losses).backward()
