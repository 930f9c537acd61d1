"""What the hooks do to the model at each iteration, by value."""

import logging
from io import StringIO
from types import SimpleNamespace

import pytest
import tiny
import torch
from rich.console import Console

from mmseg_u2pl.engine import ClassCountsHook, ProgressBarHook, SemiProgressHook, TeacherHook


class Scalars(dict):
    """In the place of mmengine's message hub and visualizer."""

    def update_scalar(self, name, value):
        self.setdefault(name, []).append(float(value))

    def add_scalars(self, scalars, step):
        self.update(scalars, step=step)


def runner_of(model, iteration=0, **settings):
    defaults = dict(
        model=model,
        iter=iteration,
        max_iters=12,
        rank=0,
        world_size=1,
        seed=0,
        optim_wrapper=SimpleNamespace(should_update=lambda: True),
        logger=logging.getLogger('test'),
        message_hub=Scalars(),
        visualizer=Scalars(),
    )
    return SimpleNamespace(**{**defaults, **settings})


# ----------------------------------------------------------------------------- progress
def test_progress_reaches_the_model_before_each_iteration():
    model = tiny.u2pl(warmup_iters=4)
    hook = SemiProgressHook()
    for iteration, progress in ((0, -0.5), (4, 0.0), (6, 0.25), (12, 1.0)):
        hook.before_train_iter(runner_of(model, iteration), iteration)
        assert model.progress == progress


def randomness(iteration, **settings):
    """What torch draws in an iteration, whatever happened before."""
    torch.manual_seed(torch.seed() % 2**32)
    SemiProgressHook().before_train_iter(runner_of(tiny.u2pl(), iteration, **settings), iteration)
    return torch.rand(4)


def test_an_iterations_randomness_is_its_own():
    assert torch.equal(randomness(5), randomness(5))
    drawn = [
        randomness(5),
        randomness(6),
        randomness(5, seed=1),
        *(randomness(5, rank=rank, world_size=3) for rank in range(3)),
    ]
    assert len({tuple(values.tolist()) for values in drawn}) == len(drawn)
    assert torch.equal(randomness(3, seed=None), randomness(3, seed=0))


def test_a_mistake_is_found_before_training():
    loader = SimpleNamespace(dataset=[1, 2])
    with pytest.raises(TypeError, match=r'train_dataloader\.dataset is a list'):
        SemiProgressHook().before_train(runner_of(tiny.u2pl(), train_dataloader=loader))


# ------------------------------------------------------------------------------ teacher
def weights(network):
    return network.decode_head.conv_seg.bias.detach().clone()


def drive(model, iterations, should_update=lambda _: True, start=0):
    """Run the hook through iterations that each add 1 to the student's biases."""
    hook = TeacherHook()
    runner = runner_of(model)
    hook.before_train(runner)
    history = []
    for iteration in range(start, start + iterations):
        runner.iter = iteration
        updates = should_update(iteration)
        runner.optim_wrapper.should_update = lambda updates=updates: updates
        hook.before_train_iter(runner, iteration)
        if updates:
            with torch.no_grad():
                model.decode_head.conv_seg.bias.add_(1)
        hook.after_train_iter(runner, iteration)
        history.append(weights(model.teacher))
    return history, runner.message_hub.get('train/semi/ema_momentum', [])


def test_the_teacher_starts_at_the_end_of_the_warm_up_and_then_averages():
    model = tiny.u2pl(teacher=False, warmup_iters=2)
    start, untouched = weights(model), weights(model.teacher)
    history, momenta = drive(model, 5)
    assert torch.equal(history[0], untouched)
    assert torch.equal(history[1], untouched)
    # copied at start + 2; then ½ 2 + ½ 3 = 2.5; ⅔ 2.5 + ⅓ 4 = 3; ¾ 3 + ¼ 5 = 3.5
    for own, expected in zip(history[2:], (2.5, 3.0, 3.5), strict=True):
        torch.testing.assert_close(own, start + expected)
    assert momenta == pytest.approx([1 / 2, 2 / 3, 3 / 4])


def test_without_warm_up_the_first_iteration_copies():
    model = tiny.u2pl(teacher=False)
    start = weights(model)
    history, _ = drive(model, 1)
    torch.testing.assert_close(history[0], start + 0.5)
    assert model.teacher.updates == 2


def test_after_a_resume_it_goes_on_where_it_stood():
    whole, resumed = (tiny.u2pl(teacher=False) for _ in range(2))
    expected, _ = drive(whole, 6)
    drive(resumed, 3)
    history, momenta = drive(resumed, 3, start=3)  # a new hook
    assert all(map(torch.equal, history, expected[3:]))
    assert momenta == pytest.approx([4 / 5, 5 / 6, 6 / 7])


def test_it_waits_for_the_optimiser():
    model = tiny.u2pl(teacher=False)
    start = weights(model)
    history, momenta = drive(model, 4, should_update=lambda iteration: iteration % 2 == 1)
    for own, expected in zip(history, (0, 0.5, 0.5, 1.0), strict=True):  # ⅔ ½ + ⅓ 2 = 1
        torch.testing.assert_close(own, start + expected)
    assert momenta == pytest.approx([1 / 2, 2 / 3])


# ------------------------------------------------------------------------- class counts
def test_counts_are_averaged_over_the_interval_and_logged(caplog):
    model = SimpleNamespace(class_counts={})
    dataset = SimpleNamespace(metainfo=tiny.META)
    runner = runner_of(model, train_dataloader=SimpleNamespace(dataset=dataset))
    hook = ClassCountsHook(interval=3)
    hook.every_n_train_iters = lambda runner, n: (runner.iter + 1) % n == 0
    counts = [None, (10, 0, 6), (20, 0, 1), (7, 7, 7)]
    with caplog.at_level(logging.INFO, 'test'):
        for iteration, anchors in enumerate(counts):
            runner.iter = iteration
            model.class_counts = (
                {} if anchors is None else dict(anchors_labeled=torch.tensor(anchors))
            )
            hook.after_train_iter(runner, iteration)
    # the first iteration is warm-up: the mean of two; the fourth belongs to the next interval
    assert runner.visualizer == {
        'semi/anchors_labeled/red': 15.0,
        'semi/anchors_labeled/green': 0.0,
        'semi/anchors_labeled/blue': 3.5,
        'step': 3,
    }
    (record,) = caplog.records
    rows = [line.split() for line in record.message.splitlines() if 'green' in line]
    assert rows == [['|', 'green', '|', '0', '|']]
    assert 'anchors labeled' in record.message


# ------------------------------------------------------------------------- progress bar
def test_the_bar_prints_a_line_a_tenth_into_a_file():
    text = StringIO()
    hook = ProgressBarHook('U2PL', Console(file=text, width=80))
    runner = SimpleNamespace(iter=5, max_iters=20)
    hook.before_train(runner)
    for iteration in range(5, 20):
        runner.iter = iteration
        hook.after_train_iter(runner, iteration)
    hook.after_train(runner)
    lines = [line.split(':')[1].split()[0] for line in text.getvalue().splitlines() if ':' in line]
    assert [f'{done}/20' for done in range(6, 21, 2)] == [line for line in lines if '/' in line]
    assert hook.bar.tasks[0].completed == 20
