"""The teacher is an exact copy, then an average, and never a student."""

import copy
from typing import Any

import pytest
import tiny
import torch
from mmengine.model import MomentumAnnealingEMA
from mmseg.registry import MODELS
from torch import nn

from mmseg_u2pl.models import Teacher


class Student(nn.Module):
    """One weight and a BatchNorm in the place of each network."""

    def __init__(self, weight):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1))
        self.decode_head = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Dropout(0.5))
        self.set(weight)

    def set(self, value):
        with torch.no_grad():
            for tensor in self.state_dict().values():
                tensor.fill_(value)


def weight(network):
    return network.decode_head[0].weight.item()


def batch_norm(teacher) -> Any:
    return teacher.get_submodule('backbone.1')


def randomise(model):
    """Other weights and BatchNorm statistics, as a few optimiser steps leave them."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not name.startswith('teacher'):
                tensor.add_(torch.rand_like(tensor))


def test_a_copy_is_exact_buffers_included():
    model = tiny.u2pl(teacher=False)
    randomise(model)
    model.teacher.copy_from(model)
    state = model.state_dict()
    pairs = [name for name in state if name.startswith('teacher.') and 'updates' not in name]
    assert any('running_mean' in name for name in pairs)
    assert any('representation_head' in name for name in pairs)
    for name in pairs:
        assert torch.equal(state[name], state[name.removeprefix('teacher.')]), name
    assert model.teacher.updates == 1


def test_average_by_hand():
    student = Student(0.0)
    teacher = Teacher(student)
    teacher.copy_from(student)
    student.set(4.0)
    assert teacher.update(student, 1) == 1 / 2
    assert weight(teacher) == pytest.approx(2)  # ½ · 0 + ½ · 4
    student.set(8.0)
    assert teacher.update(student, 2) == pytest.approx(2 / 3)
    assert weight(teacher) == pytest.approx(4)  # ⅔ · 2 + ⅓ · 8
    assert teacher.update(student, 98) == pytest.approx(98 / 99)
    assert teacher.update(student, 99) == pytest.approx(0.99)
    assert teacher.update(student, 100_000) == 0.99
    assert teacher.updates == 6


@pytest.mark.parametrize('maximum', [0.0, 0.6, 0.99])
def test_momentum_ramp(maximum):
    teacher = Teacher(Student(0.0), momentum=maximum)
    for step in range(1, 200):
        assert teacher.momentum(step) == pytest.approx(min(step / (step + 1), maximum))


def test_it_agrees_with_mmengines_annealed_average():
    student = Student(0.5)
    teacher = Teacher(student)
    other = MomentumAnnealingEMA(student, momentum=0.01, gamma=1, update_buffers=True)
    teacher.copy_from(student)
    other.update_parameters(student)
    for step in range(1, 140):
        student.set(float(torch.rand((), generator=torch.Generator().manual_seed(step))))
        teacher.update(student, step)
        other.update_parameters(student)
        theirs = dict(other.module.named_parameters())
        for name, value in teacher.named_parameters():
            torch.testing.assert_close(value.data, theirs[name].data, rtol=1e-5, atol=1e-6)


def test_batchnorm_statistics_follow_the_student_with_norm_ema():
    student = Student(0.0)
    teacher = Teacher(student, norm='ema')
    teacher.copy_from(student)
    student.set(4.0)
    teacher.update(student, 1)
    bn = batch_norm(teacher)
    assert bn.running_mean.item() == bn.running_var.item() == 2
    assert bn.num_batches_tracked == 4  # a counter is copied
    before = copy.deepcopy(bn.state_dict())
    images = torch.randn(4, 1, 3, 3)
    output = teacher.train().backbone(images)
    expected = teacher.eval().backbone(images)
    assert torch.equal(output, expected)  # a pass neither uses nor changes batch statistics
    assert all(torch.equal(value, before[name]) for name, value in bn.state_dict().items())


def test_batchnorm_statistics_are_the_batchs_with_norm_batch():
    student = Student(1.0)
    teacher = Teacher(student, norm='batch')
    teacher.copy_from(student)
    batch_norm(teacher).reset_running_stats()
    student.set(9.0)
    teacher.update(student, 1)
    bn = batch_norm(teacher)
    assert bn.running_mean.item() == 0  # not the student's
    images = torch.randn(64, 1, 4, 4) * 3 + 7
    teacher.batch_statistics(True)
    normalised = bn(images)
    # affine parameters are ½ · 1 + ½ · 9 = 5
    assert normalised.mean().item() == pytest.approx(5, abs=1e-3)
    assert normalised.std().item() == pytest.approx(5, rel=1e-3)
    assert bn.running_mean.item() == pytest.approx(0.1 * images.mean().item(), rel=1e-4)
    before = bn.running_mean.clone()
    teacher.batch_statistics(False)
    by_running = bn(images)
    teacher.batch_statistics(True)
    teacher.eval()  # as before a validation
    assert torch.equal(bn(images), by_running)
    assert torch.equal(bn.running_mean, before)
    assert not torch.allclose(by_running, normalised)


@pytest.mark.parametrize('norm', ['ema', 'batch'])
def test_training_mode_leaves_dropout_off(norm):
    model = MODELS.build(tiny.u2pl_config(dropout=0.5, teacher_norm=norm))
    model.train()
    model.teacher.batch_statistics(True)
    batch_norms = [m for m in model.teacher.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.training is (norm == 'batch') for m in batch_norms)
    features = model.teacher.extract_feat(torch.randn(2, 3, 32, 32))
    one, two = (model.teacher.decode_head(features) for _ in range(2))
    assert torch.equal(one, two)
    student = [model.decode_head(features) for _ in range(2)]
    assert not torch.equal(*student)


def test_nothing_in_it_ever_wants_a_gradient():
    model = tiny.u2pl()
    for _ in range(2):
        assert not any(p.requires_grad for p in model.teacher.parameters())
        model.teacher.update(model, 1)
        model.train()
    assert all(p.requires_grad for n, p in model.named_parameters() if 'teacher' not in n)


def test_auxiliary_heads_are_not_copied():
    model = tiny.u2pl(aux=True)
    own = sum(p.numel() for p in model.teacher.parameters())
    rest = sum(p.numel() for n, p in model.named_parameters() if not n.startswith('teacher'))
    assert own == rest - sum(p.numel() for p in model.auxiliary_head.parameters())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(momentum=1.0), r'ema_momentum .* 1\.0'),
        (dict(momentum=-0.1), r'ema_momentum .* -0\.1'),
        (dict(norm='sync'), "teacher_norm .* 'sync'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Teacher(Student(0.0), **settings)
