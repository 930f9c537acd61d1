"""The teacher is an exact copy, then an average, and never a student."""

import copy
from typing import Any

import pytest
import tiny
import torch
from mmengine.model import MomentumAnnealingEMA
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


def started(student, **settings):
    """A teacher that is a copy of the student."""
    teacher = Teacher(student, **settings)
    teacher.start(student)
    return teacher


def weight(network):
    return network.decode_head[0].weight.item()


def batch_norm(network) -> Any:
    return network.get_submodule('backbone.1')


def randomize(model):
    """Other weights and BatchNorm statistics, as a few optimizer steps leave them."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not name.startswith('teacher'):
                tensor.add_(torch.rand_like(tensor))


# ------------------------------------------------------------------------------- start
def test_a_start_is_an_exact_copy_buffers_included():
    model = tiny.u2pl(warmup_iters=5)
    randomize(model)
    assert not model.teacher.started
    model.teacher.start(model)
    state = model.state_dict()
    pairs = [name for name in state if name.startswith('teacher.') and 'updates' not in name]
    assert any('running_mean' in name for name in pairs)
    assert any('representation_head' in name for name in pairs)
    for name in pairs:
        assert torch.equal(state[name], state[name.removeprefix('teacher.')]), name
    assert model.teacher.updates == 1
    assert model.teacher.started


def test_it_never_trains_not_even_before_the_first_step():
    teacher = Teacher(Student(0.0).train())
    assert not any(module.training for module in teacher.modules())


def test_a_restart_forgets_the_run_and_the_next_start_copies_again():
    student = Student(0.0)
    teacher = started(student)
    for value in (4.0, 8.0, 12.0):
        student.set(value)
        teacher.update(student)
    assert teacher.updates == 4
    teacher.restart()
    assert (teacher.started, int(teacher.updates)) == (False, 0)
    student.set(1.0)
    teacher.start(student)
    assert weight(teacher) == 1
    student.set(3.0)
    assert teacher.update(student) == 1 / 2  # the ramp of the momentum starts again, too
    assert weight(teacher) == 2


def test_a_checkpoint_says_whether_it_has_started_and_where_the_ramp_is():
    student = Student(0.0)
    teacher = started(student)
    for _ in range(3):
        teacher.update(student)
    restored = Teacher(student)
    restored.load_state_dict(teacher.state_dict())
    assert restored.started
    assert restored.update(student) == teacher.update(student) == pytest.approx(4 / 5)
    restored.load_state_dict(Teacher(student).state_dict())
    assert not restored.started


# ------------------------------------------------------------------------------ average
def test_average_by_hand():
    student = Student(0.0)
    teacher = started(student)
    student.set(4.0)
    assert teacher.update(student) == 1 / 2
    assert weight(teacher) == pytest.approx(2)  # ½ · 0 + ½ · 4
    student.set(8.0)
    assert teacher.update(student) == pytest.approx(2 / 3)
    assert weight(teacher) == pytest.approx(4)  # ⅔ · 2 + ⅓ · 8
    assert teacher.updates == 3


@pytest.mark.parametrize('maximum', [0.0, 0.6, 0.99])
def test_momentum_ramp(maximum):
    student = Student(0.0)
    teacher = started(student, momentum=maximum)
    momenta = [teacher.update(student) for _ in range(110)]
    assert momenta == pytest.approx([min(k / (k + 1), maximum) for k in range(1, 111)])
    assert teacher.momentum(100_000) == maximum


def test_it_agrees_with_mmengines_annealed_average():
    student = Student(0.5)
    teacher = started(student)
    other = MomentumAnnealingEMA(student, momentum=0.01, gamma=1, update_buffers=True)
    other.update_parameters(student)
    for step in range(1, 140):
        student.set(float(torch.rand((), generator=torch.Generator().manual_seed(step))))
        teacher.update(student)
        other.update_parameters(student)
        theirs = dict(other.module.named_parameters())
        for name, value in teacher.named_parameters():
            torch.testing.assert_close(value.data, theirs[name].data, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------- BatchNorm
def test_batchnorm_statistics_follow_the_student_with_norm_ema():
    student = Student(0.0)
    teacher = started(student, norm='ema')
    student.set(4.0)
    teacher.update(student)
    bn = batch_norm(teacher)
    assert bn.running_mean.item() == bn.running_var.item() == 2
    assert bn.num_batches_tracked == 4  # a counter is copied
    before = copy.deepcopy(bn.state_dict())
    images = torch.randn(4, 1, 3, 3)
    with teacher.train().batch_statistics(student.train()):
        output = teacher.backbone(images)
    assert torch.equal(output, teacher.eval().backbone(images))
    assert all(torch.equal(value, before[name]) for name, value in bn.state_dict().items())


def test_batchnorm_statistics_are_the_batchs_with_norm_batch():
    student = Student(1.0).train()
    teacher = started(student, norm='batch')
    batch_norm(teacher).reset_running_stats()
    student.set(9.0)
    teacher.update(student)
    bn = batch_norm(teacher)
    assert bn.running_mean.item() == 0  # not the student's
    images = torch.randn(64, 1, 4, 4) * 3 + 7
    with teacher.batch_statistics(student):
        normalized = bn(images)
    # affine parameters are ½ · 1 + ½ · 9 = 5
    assert normalized.mean().item() == pytest.approx(5, abs=1e-3)
    assert normalized.std().item() == pytest.approx(5, rel=1e-3)
    assert bn.running_mean.item() == pytest.approx(0.1 * images.mean().item(), rel=1e-4)
    before = bn.running_mean.clone()
    by_running = bn(images)  # afterwards, by running statistics
    assert torch.equal(bn.running_mean, before)
    assert not torch.allclose(by_running, normalized)


@pytest.mark.parametrize('frozen', [True, False])
def test_its_batchnorm_modes_follow_the_students(frozen):
    student = Student(1.0).train()
    teacher = started(student, norm='batch')
    batch_norm(student).train(not frozen)
    with teacher.batch_statistics(student):
        assert batch_norm(teacher).training != frozen
        teacher.backbone(torch.randn(4, 1, 3, 3))
    assert batch_norm(teacher).num_batches_tracked == (1 if frozen else 2)
    assert not batch_norm(teacher).training


@pytest.mark.parametrize(
    ('kind', 'norm'), [('U2PL', 'ema'), ('U2PL', 'batch'), ('MeanTeacher', 'ema')]
)
def test_statistics_that_the_student_freezes_stay(kind, norm):
    """``backbone=dict(norm_eval=True, frozen_stages=1)``, as mmseg's detection-style configs."""
    backbone = tiny.networks()['backbone'] | dict(norm_eval=True, frozen_stages=1)
    model = tiny.semi(kind, backbone=backbone, teacher=dict(norm=norm))
    before = {n: b.clone() for n, b in model.backbone.named_buffers()}
    frozen = {n: p.clone() for n, p in model.backbone.named_parameters() if not p.requires_grad}
    assert any(name.startswith('layer1') for name in frozen)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for step in range(2):
        model.train()  # as the training loop does
        model.before_iter(step, 2)
        optimizer.zero_grad()
        losses = model.loss(*tiny.batch(seed=step))
        tiny.total(losses).backward()
        optimizer.step()
        model.after_step(losses)
    for network in (model, model.teacher):
        for name, buffer in network.backbone.named_buffers():
            assert torch.equal(buffer, before[name]), name
        for name, value in frozen.items():
            assert torch.equal(network.backbone.get_parameter(name), value), name
    moved = [not torch.equal(p, q) for p, q in zip(
        model.teacher.backbone.parameters(), tiny.semi(kind, backbone=backbone).backbone.parameters(),
        strict=True,
    )]  # fmt: skip
    assert any(moved)  # what is not frozen follows the student
    head = model.teacher.decode_head.convs[0].bn
    assert head.num_batches_tracked == 2


@pytest.mark.parametrize('norm', ['ema', 'batch'])
def test_training_mode_leaves_dropout_off(norm):
    model = tiny.u2pl(dropout=0.5, teacher=dict(norm=norm))
    features = model.teacher.extract_feat(torch.randn(2, 3, 32, 32))
    with model.teacher.batch_statistics(model):
        norms = [m for m in model.teacher.modules() if isinstance(m, nn.BatchNorm2d)]
        assert all(m.training is (norm == 'batch') for m in norms)
        one, two = (model.teacher.decode_head(features) for _ in range(2))
    assert torch.equal(one, two)
    student = [model.decode_head(features) for _ in range(2)]
    assert not torch.equal(*student)
    assert not any(module.training for module in model.teacher.modules())


# ---------------------------------------------------------------------------- parameters
def test_nothing_in_it_ever_wants_a_gradient():
    model = tiny.u2pl()
    for _ in range(2):
        assert not any(p.requires_grad for p in model.teacher.parameters())
        model.teacher.update(model)
        model.train()
    assert all(p.requires_grad for n, p in model.named_parameters() if 'teacher' not in n)


def test_auxiliary_heads_are_not_copied():
    model = tiny.u2pl(aux=True)
    copied = sum(p.numel() for p in model.teacher.parameters())
    rest = sum(p.numel() for n, p in model.named_parameters() if not n.startswith('teacher'))
    assert copied == rest - sum(p.numel() for p in model.auxiliary_head.parameters())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(momentum=1.0), r'teacher.momentum .* 1\.0'),
        (dict(momentum=-0.1), r'teacher.momentum .* -0\.1'),
        (dict(norm='sync'), "teacher.norm .* 'sync'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Teacher(Student(0.0), **settings)


def test_tied_weights_are_averaged_once():
    student = Student(0.0)
    first: Any = student.decode_head[0]
    student.decode_head.register_parameter('tied', first.weight)
    teacher = started(student, momentum=0.9)
    student.set(1.0)
    teacher.step = 100  # m = 0.9
    teacher.update(student)
    assert weight(teacher) == pytest.approx(0.1)


@pytest.mark.parametrize('norm', ['ema', 'batch'])
def test_other_buffers_are_the_students(norm):
    student = Student(1.0)
    student.decode_head.register_buffer('bases', torch.tensor([1.0, -torch.inf]))
    teacher = started(student, norm=norm)
    student.decode_head.bases = torch.tensor([3.0, -torch.inf])  # another tensor
    teacher.update(student)
    assert teacher.get_buffer('decode_head.bases').tolist() == [3.0, -torch.inf]
