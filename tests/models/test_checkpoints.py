"""Checkpoints of other models and of the warm-up: who the teacher is after loading."""

import pytest
import tiny
import torch
from mmengine.runner import load_checkpoint, save_checkpoint
from mmseg.registry import MODELS

from mmseg_u2pl.models.segmentors import networks

METHODS = ['U2PL', 'FixMatch', 'MeanTeacher', 'UniMatch', 'UniMatchV2']


@pytest.fixture
def said(monkeypatch):
    """What loading prints."""
    texts: list[str] = []
    monkeypatch.setattr(networks, 'print_log', lambda text, **_: texts.append(text))
    return texts


def build(kind, **settings):
    """A model in the warm-up; each has a teacher."""
    if kind in ('FixMatch', 'UniMatch'):
        settings = dict(teacher=dict(norm='ema'), **settings)
    return tiny.semi(kind, warmup_iters=5, **settings)


def file_of(model, path):
    save_checkpoint(dict(state_dict=model.state_dict(), meta={}), str(path))
    return str(path)


def assert_copy(model):
    """The teacher is the student, and is still to start."""
    for name, value in model.teacher.state_dict().items():
        if name != 'updates':
            assert torch.equal(value, model.state_dict()[name]), name
    assert not model.teacher.started


@pytest.mark.parametrize('kind', METHODS)
def test_a_plain_checkpoint_makes_the_teacher_a_copy_of_the_student(kind, tmp_path, said):
    torch.manual_seed(9)
    plain = MODELS.build(dict(type='EncoderDecoder', **tiny.networks(aux=True))).eval()
    with torch.no_grad():  # statistics are copied too
        for buffer in plain.buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer))
    model = build(kind, aux=True, contrastive=None).eval()
    load_checkpoint(model, file_of(plain, tmp_path / 'plain.pth'), map_location='cpu')
    images = torch.randn(1, 3, *tiny.CROP)
    assert torch.equal(model(images), plain(images))  # predicted by the teacher
    assert_copy(model)
    assert said == [text for text in said if 'copy of the student' in text]
    assert len(said) == 1


@pytest.mark.parametrize('kind', METHODS)
def test_a_checkpoint_of_the_warm_up_does_so_too(kind, tmp_path, said):
    saved = build(kind)
    with torch.no_grad():  # the student has learned
        for parameter in saved.decode_head.parameters():
            parameter.add_(torch.rand_like(parameter))
    model = build(kind, seed=1)
    load_checkpoint(model, file_of(saved, tmp_path / 'warm.pth'), map_location='cpu', strict=True)
    assert torch.equal(model.decode_head.conv_seg.weight, saved.decode_head.conv_seg.weight)
    assert_copy(model)
    assert len(said) == 1


def test_a_teacher_that_has_started_is_loaded_as_it_is(tmp_path, said):
    saved = tiny.ready()
    model = tiny.u2pl(seed=1)
    load_checkpoint(model, file_of(saved, tmp_path / 'u2pl.pth'), map_location='cpu', strict=True)
    assert model.teacher.started
    assert model.teacher.step == 1
    for name, value in saved.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    weights = [network.decode_head.conv_seg.weight for network in (model, model.teacher)]
    assert not torch.equal(*weights)
    assert said == []


def test_loading_leaves_the_state_of_the_caller_usable(tmp_path, said):
    """Another number of classes: mmengine drops what does not fit, torch names it."""
    plain = MODELS.build(dict(type='EncoderDecoder', **tiny.networks(num_classes=4)))
    model = build('U2PL')
    load_checkpoint(model, file_of(plain, tmp_path / 'four.pth'), map_location='cpu')
    assert torch.equal(model.teacher.backbone.conv1.weight, plain.backbone.conv1.weight)
    state = plain.state_dict()
    with pytest.raises(RuntimeError, match=r'size mismatch for decode_head\.conv_seg'):
        model.load_state_dict(state, strict=False)
    missing = build('U2PL').load_state_dict(
        {'backbone.conv1.weight': state['backbone.conv1.weight']}, strict=False
    )
    assert 'teacher.decode_head.conv_seg.weight' in missing.missing_keys
    assert missing.unexpected_keys == []
