"""What the hooks do to the model at each iteration, by value."""

import logging
import runpy
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import cross
import pytest
import tiny
import torch
from rich.console import Console
from torch import nn

from mmseg_u2pl.engine import SemiTrainingHook, semi_hook
from mmseg_u2pl.models import SemiSegmentor


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
    hook = SemiTrainingHook()
    for iteration, progress in ((0, -0.5), (4, 0.0), (6, 0.25), (12, 1.0)):
        hook.before_train_iter(runner_of(model, iteration), iteration)
        assert model.progress == progress


def randomness(iteration, model=None, **settings):
    """What torch draws in an iteration, whatever happened before."""
    torch.manual_seed(torch.seed() % 2**32)
    runner = runner_of(model or nn.Identity(), iteration, **settings)
    SemiTrainingHook().before_train_iter(runner, iteration)
    return torch.rand(4)


def test_the_random_numbers_of_an_iteration_depend_on_nothing_before_it():
    assert torch.equal(randomness(5), randomness(5))
    assert torch.equal(randomness(5), randomness(5, tiny.u2pl()))  # the baseline's are the same
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
        SemiTrainingHook().before_train(runner_of(tiny.u2pl(), train_dataloader=loader))


@pytest.mark.parametrize(('iteration', 'kept'), [(0, False), (3, True)], ids=['new', 'resumed'])
def test_state_of_a_run_is_kept_by_a_resumed_one_alone(iteration, kept, monkeypatch):
    for name in ('check_training', 'FiniteGuard'):
        monkeypatch.setattr(semi_hook, name, lambda runner: None)
    model = tiny.u2pl()
    SemiTrainingHook().before_train(runner_of(model, iteration))
    assert model.teacher.started is kept


# ------------------------------------------------------------------------------ teacher
def weights(network):
    return network.decode_head.conv_seg.bias.detach().clone()


def drive(model, iterations, should_update=lambda _: True, start=0):
    """Run the hook through iterations that each add 1 to the student's biases."""
    hook = SemiTrainingHook()
    runner = runner_of(model)
    history = []
    for iteration in range(start, start + iterations):
        runner.iter = iteration
        updates = should_update(iteration)
        runner.optim_wrapper.should_update = lambda updates=updates: updates
        hook.before_train_iter(runner, iteration)
        if updates:
            with torch.no_grad():
                model.decode_head.conv_seg.bias.add_(1)
        hook.after_train_iter(runner, iteration, outputs={})
        history.append(weights(model.teacher))
    return history, runner.message_hub.get('train/semi/ema_momentum', [])


def waiting(**settings):
    """A model whose teacher has not started."""
    model = tiny.u2pl(contrastive=None, **settings)
    model.teacher.restart()
    return model


def test_the_teacher_starts_at_the_end_of_the_warm_up_and_then_averages():
    model = waiting(warmup_iters=2)
    start, untouched = weights(model), weights(model.teacher)
    history, momenta = drive(model, 5)
    assert torch.equal(history[0], untouched)
    assert torch.equal(history[1], untouched)
    # copied at start + 2; then ½ 2 + ½ 3 = 2.5; ⅔ 2.5 + ⅓ 4 = 3; ¾ 3 + ¼ 5 = 3.5
    for bias, expected in zip(history[2:], (2.5, 3.0, 3.5), strict=True):
        torch.testing.assert_close(bias, start + expected)
    assert momenta == pytest.approx([1 / 2, 2 / 3, 3 / 4])


def test_without_warm_up_the_first_iteration_copies():
    model = waiting()
    start = weights(model)
    history, _ = drive(model, 1)
    torch.testing.assert_close(history[0], start + 0.5)
    assert model.teacher.updates == 2


def test_after_a_resume_it_continues_where_it_was():
    whole, resumed = waiting(), waiting()
    expected, _ = drive(whole, 6)
    drive(resumed, 3)
    resumed.load_state_dict(resumed.state_dict())
    history, momenta = drive(resumed, 3, start=3)  # a new hook
    assert all(map(torch.equal, history, expected[3:]))
    assert momenta == pytest.approx([4 / 5, 5 / 6, 6 / 7])


def test_it_waits_for_the_optimizer():
    model = waiting()
    start = weights(model)
    history, momenta = drive(model, 4, should_update=lambda iteration: iteration % 2 == 1)
    for bias, expected in zip(history, (0, 0.5, 0.5, 1.0), strict=True):  # ⅔ ½ + ⅓ 2 = 1
        torch.testing.assert_close(bias, start + expected)
    assert momenta == pytest.approx([1 / 2, 2 / 3])


def test_a_plain_segmentor_gets_no_more_than_a_seed():
    plain = nn.Linear(1, 1)
    hook, runner = SemiTrainingHook(), runner_of(plain)
    hook.before_train_iter(runner, 0)
    hook.after_train_iter(runner, 0, outputs={})
    hook.before_val(runner)
    assert runner.message_hub == {}


# ------------------------------------------------------------------------- class counts
class Counting(SemiSegmentor):
    """Says what it is told to."""

    def __init__(self):
        nn.Module.__init__(self)
        self.teacher, self.statistics = None, {}

    def class_statistics(self):
        return self.statistics


def test_counts_are_averaged_over_the_interval(monkeypatch):
    monkeypatch.setattr(semi_hook, 'CLASS_INTERVAL', 3)
    model = Counting()
    dataset = SimpleNamespace(metainfo=tiny.META)
    runner = runner_of(model, train_dataloader=SimpleNamespace(dataset=dataset))
    hook = SemiTrainingHook()
    counts = [None, (10, 0, 6), (20, 0, 1), (7, 7, 7)]
    for iteration, anchors in enumerate(counts):
        runner.iter = iteration
        model.statistics = {} if anchors is None else dict(anchors_labeled=torch.tensor(anchors))
        hook.after_train_iter(runner, iteration, outputs={})
    # the first iteration is warm-up: the mean of two; the fourth belongs to the next interval
    assert runner.visualizer == {
        'semi/anchors_labeled/red': 15.0,
        'semi/anchors_labeled/green': 0.0,
        'semi/anchors_labeled/blue': 3.5,
        'step': 3,
    }


# ------------------------------------------------------------------ what should not be zero
NONE, SOME, ABSENT = 0.0, 0.5, None


@pytest.mark.parametrize(
    ('values', 'warned'),
    [
        ([NONE] * 2, 0),
        ([NONE] * 3, 1),
        ([NONE] * 12, 4),  # once an interval
        ([NONE, SOME, NONE], 0),
        ([SOME] * 3 + [NONE] * 3, 1),
        ([ABSENT] * 9 + [NONE] * 2, 0),  # the warm-up does not count
    ],
)
@pytest.mark.parametrize(
    ('kind', 'name', 'meaning'),
    [
        ('RRN', 'semi/accepted_own', 'fallen back to CPS'),
        ('FixMatch', 'semi/reliable_share', 'no pseudo-label is believed'),
    ],
)
def test_a_number_that_stays_zero_is_reported(
    kind, name, meaning, values, warned, caplog, monkeypatch
):
    monkeypatch.setattr(semi_hook, 'ZERO_INTERVAL', 3)
    model = cross.build(kind) if kind == 'RRN' else tiny.semi(kind)
    hook, runner = SemiTrainingHook(), runner_of(model)
    with caplog.at_level(logging.WARNING, 'test'):
        for iteration, value in enumerate(values):
            outputs = {} if value is None else {name: torch.tensor(value)}
            hook.after_train_iter(runner, iteration, outputs=outputs)
    assert len(caplog.records) == warned
    for record in caplog.records:
        assert record.message.startswith(f'{name} was 0 for 3 iterations')
        assert meaning in record.message


# ------------------------------------------------------------------------- progress bar
def test_the_demos_bar_prints_a_line_a_tenth_into_a_file():
    text = StringIO()
    demo = runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'demo.py'))
    hook = demo['progress_hook']('U2PL', Console(file=text, width=80))
    runner = SimpleNamespace(iter=0, max_iters=20)
    hook.before_train(runner)
    for iteration in range(20):
        runner.iter = iteration
        hook.after_train_iter(runner, iteration)
    hook.after_train(runner)
    lines = [line for line in text.getvalue().splitlines() if line.startswith('U2PL: ')]
    assert lines == [f'U2PL: {done}/20' for done in range(2, 21, 2)]
