"""Backbones of transformers return its own maps, at any size, and train under mmseg's heads."""

import copy
import sys

import pytest
import tiny
import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import DPTHead
from mmseg.registry import MODELS

from mmseg_u2pl.models import DPTMapHead, HFBackbone

transformers = pytest.importorskip('transformers')

VIT = dict(hidden_size=16, num_hidden_layers=4, num_attention_heads=2)
DINOV2 = dict(model_type='dinov2', image_size=56, **VIT)
DINOV3 = dict(model_type='dinov3_vit', intermediate_size=32, num_register_tokens=2, **VIT)
SWIN = dict(model_type='swin', embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 4], window_size=4)
CONVNEXT = dict(model_type='convnext', hidden_sizes=[8, 16, 24], depths=[1, 1, 1], num_stages=3)
RESNET = dict(
    model_type='resnet', embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type='basic'
)
LEVELS = (1, 2, 3, 4)


def build(config=None, out_indices=LEVELS, **settings):
    torch.manual_seed(0)
    return HFBackbone(
        config=config and dict(config), out_indices=out_indices,
        **{'pretrained': 'name' in settings, **settings},
    ).eval()  # fmt: skip


def images(*size, batch=2, seed=1):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[(DINOV2, 14, 1), (DINOV3, 16, 3)], ids=['dinov2', 'dinov3'])
def vit(request, tmp_path):
    """A whole model in a folder, the model, its patch and its tokens that are no patches."""
    config, patch, prefix = request.param
    torch.manual_seed(2)
    settings = transformers.AutoConfig.for_model(**config)
    model = transformers.AutoModel.from_config(settings).eval()
    for name, parameter in model.named_parameters():
        if 'norm' in name:  # not the identity
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    model.save_pretrained(tmp_path)
    return str(tmp_path), model, patch, prefix


@torch.no_grad()
def test_maps_of_a_vit_are_the_tokens_of_its_layers(vit):
    folder, model, patch, prefix = vit
    backbone = build(name=folder)
    backbone.init_weights()
    inputs = images(3 * patch, 5 * patch)
    maps = backbone(inputs)
    hidden = model(inputs, output_hidden_states=True).hidden_states
    norm = model.layernorm if hasattr(model, 'layernorm') else model.norm
    assert len(maps) == 4
    for level, tokens in zip(maps, hidden[1:], strict=True):
        expected = norm(tokens)[:, prefix:].transpose(1, 2).reshape(2, 16, 3, 5)
        torch.testing.assert_close(level, expected)


@torch.no_grad()
def test_a_config_builds_what_the_folder_has(vit):
    folder, model, *_ = vit
    config = DINOV2 if model.config.model_type == 'dinov2' else DINOV3
    read, built = build(name=folder), build(config, name=folder)
    before = copy.deepcopy(built.state_dict())
    for backbone in (read, built):
        backbone.init_weights()
    assert any(not torch.equal(v, before[name]) for name, v in built.state_dict().items())
    for one, other in zip(read(images(64, 64)), built(images(64, 64)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ('config', 'indices', 'expected'),
    [
        (SWIN, (1, 2, 3), [(8, 17, 25), (16, 9, 13), (32, 5, 7)]),
        (CONVNEXT, (1, 2, 3), [(8, 17, 25), (16, 8, 12), (24, 4, 6)]),
        (RESNET, (0, 2), [(8, 17, 25), (16, 9, 13)]),
    ],
    ids=['swin', 'convnext', 'resnet'],
)
@torch.no_grad()
def test_stages_of_other_networks(config, indices, expected):
    backbone = build(config, indices)
    settings = transformers.AutoConfig.for_model(**config, out_indices=list(indices))
    reference = transformers.AutoBackbone.from_config(settings).eval()
    reference.load_state_dict(backbone.model.state_dict())
    inputs = images(68, 100)  # multiples of the patches, not of the strides
    for level, own, size in zip(
        backbone(inputs), reference(inputs).feature_maps, expected, strict=True
    ):
        assert torch.equal(level, own)
        assert level.shape[1:] == size
        assert level.std() > 0


@pytest.mark.parametrize(
    ('config', 'size', 'resized'),
    [
        (DINOV2, (66, 100), (70, 98)),
        (DINOV2, (62, 63), (56, 70)),  # the half goes up
        (DINOV2, (3, 29), (14, 28)),
        (DINOV3, (70, 100), (64, 96)),
        (SWIN, (65, 102), (64, 104)),
    ],
)
@torch.no_grad()
def test_other_sizes_are_resized_to_patches(config, size, resized):
    backbone = build(config, (1, 2))
    inputs = images(*size)
    expected = backbone(F.interpolate(inputs, resized, mode='bilinear', align_corners=False))
    for level, own in zip(backbone(inputs), expected, strict=True):
        assert torch.equal(level, own)


@torch.no_grad()
def test_position_embeddings_at_another_size():
    """The stem is embedded patches + positions; the 4 × 4 positions are resized, bicubic."""
    backbone = build(dict(DINOV2, apply_layernorm=False), (0, 1))
    embeddings = backbone.model.embeddings
    inputs = images(42, 84)
    positions = embeddings.position_embeddings[:, 1:].reshape(1, 4, 4, 16).permute(0, 3, 1, 2)
    positions = F.interpolate(positions, (3, 6), mode='bicubic', align_corners=False)
    patches = embeddings.patch_embeddings.projection(inputs)
    torch.testing.assert_close(backbone(inputs)[0], patches + positions)
    assert positions.std() > 0.01


# ----------------------------------------------------------------------------------- mistakes
def test_missing_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ImportError, match=r"pip install 'mmseg-u2pl\[hf\]'"):
        build(DINOV2)


@pytest.mark.parametrize('name', ['facebook/no-such-backbone', '/no/such/folder'])
def test_a_name_that_cannot_be_loaded(name):
    with pytest.raises(OSError, match=f"HFBackbone: '{name}' cannot be loaded. Check the name"):
        build(name=name)
    backbone = build(DINOV2, name=name)  # is built without it
    with pytest.raises(OSError, match=f"HFBackbone: '{name}' cannot be loaded. Check the name"):
        backbone.init_weights()


def test_neither_name_nor_config():
    with pytest.raises(ValueError, match='needs a name, or a config and pretrained=False'):
        HFBackbone()
    with pytest.raises(ValueError, match='needs a name, or a config and pretrained=False'):
        HFBackbone(config=DINOV2)


def test_a_layer_that_does_not_exist():
    with pytest.raises(ValueError, match='out_indices must be valid'):
        build(DINOV2, (1, 5))


@pytest.mark.parametrize(
    'config',
    [dict(DINOV2, num_hidden_layers=6), dict(DINOV2, hidden_size=32), SWIN],
    ids=['deeper', 'wider', 'another network'],
)
def test_weights_of_another_architecture(tmp_path, config):
    settings = transformers.AutoConfig.for_model(**DINOV2)
    transformers.AutoModel.from_config(settings).save_pretrained(tmp_path)
    backbone = build(config, (1, 2), name=str(tmp_path))
    with pytest.raises(ValueError, match=r'has no weights for \d+ parameters .*another archit'):
        backbone.init_weights()


def test_norms_that_a_backbone_adds_are_no_mistake(tmp_path):
    """A classifier's checkpoint has none for its maps."""
    settings = transformers.AutoConfig.for_model(**SWIN)
    model = transformers.AutoModelForImageClassification.from_config(settings)
    model.save_pretrained(tmp_path)
    backbone = build(name=str(tmp_path), out_indices=(1, 3))
    backbone.init_weights()
    loaded = backbone.model.swin.encoder.layers[0].state_dict()
    for name, value in model.swin.encoder.layers[0].state_dict().items():
        assert torch.equal(loaded[name], value)


# ----------------------------------------------------------------------------------- training
def loss_of(backbone, size=(64, 64)):
    return sum(level.square().mean() for level in backbone(images(*size)))


@pytest.mark.parametrize('config', [DINOV2, DINOV3, SWIN, CONVNEXT, RESNET], ids=str)
def test_every_parameter_that_is_trained_has_a_gradient(config):
    """DDP waits for the others."""
    backbone = build(config, (1, len(config.get('depths', range(4))))).train()
    loss_of(backbone).backward()
    assert [n for n, p in backbone.named_parameters() if p.requires_grad == (p.grad is None)] == []


def test_a_frozen_backbone_stays_in_eval_mode_and_has_no_gradient():
    config = dict(DINOV2, hidden_dropout_prob=0.5)
    frozen, trained = build(config, frozen=True).train(), build(config).train()
    assert not any(p.requires_grad for p in frozen.parameters())
    assert torch.equal(loss_of(frozen), loss_of(frozen))
    assert not torch.equal(loss_of(trained), loss_of(trained))


@pytest.mark.parametrize('config', [DINOV2, DINOV3])
def test_gradient_checkpointing_changes_no_gradient(config):
    gradients = []
    for with_cp in (False, True):
        backbone = build(config, with_cp=with_cp)
        for module in backbone.modules():
            module.training = hasattr(module, 'gradient_checkpointing')  # DINOv3 jitters positions
        loss_of(backbone).backward()
        gradients.append([p.grad for p in backbone.parameters() if p.requires_grad])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


DPT = dict(
    type='DPTMapHead', embed_dims=16, in_channels=[16] * 4, in_index=[0, 1, 2, 3],
    input_transform='multiple_select', post_process_channels=[8, 8, 8, 8], channels=8,
    norm_cfg=None, num_classes=3, dropout_ratio=0,
)  # fmt: skip


def networks(config, **settings):
    """Backbone and head of a segmentor."""
    backbone = dict(
        type='HFBackbone', config=config, pretrained=False, out_indices=LEVELS, **settings
    )
    return dict(backbone=backbone, decode_head=dict(DPT))


@torch.no_grad()
def test_dpt_on_maps_is_dpt_with_tokens():
    torch.manual_seed(0)
    ours = MODELS.build(DPT).eval()
    theirs = MODELS.build(dict(DPT, type='DPTHead')).eval()
    assert isinstance(ours, DPTMapHead)
    assert type(theirs) is DPTHead
    theirs.load_state_dict(ours.state_dict())
    levels = [torch.randn(2, 16, 5, 7) for _ in range(4)]
    logits = ours(levels)
    assert torch.equal(logits, theirs([(level, torch.randn(2, 16)) for level in levels]))
    assert logits.shape == (2, 3, 48, 64)  # the coarsest map, 3 × 4, four times doubled
    assert logits.std() > 0


@pytest.mark.parametrize('config', [DINOV2, DINOV3], ids=['dinov2', 'dinov3'])
@pytest.mark.parametrize('kind', ['U2PL', 'FixMatch', 'UniMatchV2'])
def test_a_training_step_of_a_method(kind, config):
    teacher = dict(momentum=0.9, norm='ema')
    model = tiny.semi(kind, teacher=teacher, **networks(config))
    losses = model.loss(*tiny.batch())
    tiny.total(losses).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad == (p.grad is None)] == []
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(0.1)
    model.after_step(losses)
    for name, value in model.backbone.named_parameters():
        average = torch.lerp(before[f'teacher.backbone.{name}'], value, 1 / 2)  # m₁ = 1/2
        torch.testing.assert_close(model.teacher.backbone.get_parameter(name), average)
    (sample,) = model.eval().predict(torch.randn(1, 3, *tiny.CROP))
    assert sample.pred_sem_seg.data.shape == (1, *tiny.CROP)


@pytest.mark.parametrize(
    'config', [dict(DINOV2, num_hidden_layers=3), SWIN], ids=['dinov2', 'swin']
)
@pytest.mark.parametrize('kind', ['UPerHead', 'SegformerHead'])
def test_other_heads(kind, config):
    backbone = dict(type='HFBackbone', config=config, pretrained=False, out_indices=(1, 2, 3))
    head = dict(type=kind, in_index=[0, 1, 2], channels=8, num_classes=3, norm_cfg=dict(type='BN'))
    head['in_channels'] = [16, 16, 16] if config is not SWIN else [8, 16, 32]
    model = tiny.semi('FixMatch', backbone=backbone, decode_head=head)
    tiny.total(model.loss(*tiny.batch())).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad == (p.grad is None)] == []


@torch.no_grad()
def test_the_copy_of_the_teacher_computes_with_its_weights():
    model = tiny.semi('FixMatch', teacher=dict(norm='ema'), **networks(DINOV2)).eval()
    model.teacher.start(model)
    fresh = build(DINOV2)
    for parameter in model.teacher.backbone.parameters():
        parameter.mul_(1.5)
    fresh.load_state_dict(model.teacher.backbone.state_dict())
    inputs = images(28, 28)
    student = model.extract_feat(inputs)
    for level, own, other in zip(
        model.teacher.extract_feat(inputs), fresh(inputs), student, strict=True
    ):
        assert torch.equal(level, own)
        assert not torch.allclose(level, other)


@pytest.mark.parametrize(
    ('config', 'size'), [(DINOV2, (30, 45)), (DINOV3, (32, 48))], ids=['dinov2', 'dinov3']
)
def test_a_traced_and_an_exported_model_predict_as_it_does(config, size):
    model = tiny.semi('FixMatch', teacher=dict(norm='ema'), **networks(config)).eval()
    inputs, others = images(*size), images(*size, seed=2)
    with torch.no_grad():
        expected = model(others)
        traced = torch.jit.trace(model, inputs, check_trace=False)
        torch.testing.assert_close(traced(others), expected)
        exported = torch.export.export(model, (inputs,))
        torch.testing.assert_close(exported.module()(others), expected)
