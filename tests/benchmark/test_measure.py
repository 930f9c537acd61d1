"""Exclusive times on a clock of our own, and bytes counted by hand."""

import time

import pytest
import torch

from mmseg_u2pl.benchmark.measure import (
    MIB,
    Stopwatch,
    interleaved,
    medians,
    peak_bytes,
    tensor_bytes,
)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = [0.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])

    def wait(milliseconds):
        now[0] += milliseconds / 1e3

    return wait


def test_time_in_an_inner_part_is_not_the_outer_ones(clock):
    watch = Stopwatch('cpu')
    with watch.part('step'):
        clock(2)
        for _ in range(2):
            with watch.part('backward'):
                clock(3)
        assert watch.current == 'step'
        clock(5)
    clock(100)  # outside of all parts
    with watch.part('step'):
        clock(1)
    assert watch.take() == pytest.approx({'step': 8, 'backward': 6})
    assert watch.take() == {}
    assert watch.current is None


def test_an_error_closes_the_part(clock):
    watch = Stopwatch('cpu')
    with pytest.raises(KeyError), watch.part('step'):
        raise KeyError
    clock(7)
    assert watch.take().get('step') == pytest.approx(0)


def test_a_wrapped_function_is_a_part_that_its_arguments_may_name(clock):
    watch = Stopwatch('cpu')

    def work(kind, amount):
        clock(amount)
        return amount + 1

    timed = watch.wrap(work, lambda kind, amount: f'of {kind}')
    assert timed('teacher', amount=4) == 5
    assert timed('student', 2) == 3
    assert watch.take() == pytest.approx({'of teacher': 4, 'of student': 2})


def test_a_device_without_a_clock_is_refused():
    with pytest.raises(ValueError, match='device=meta'):
        Stopwatch('meta')


def test_medians_count_an_absent_part_as_nothing():
    records = [{'a': 1.0, 'b': 9.0}, {'a': 5.0}, {'a': 2.0}]
    assert medians(records) == {'a': 2.0, 'b': 0.0}


def test_calls_take_turns_and_the_warm_up_does_not_count(clock):
    order, costs = [], iter([100, 100, 1, 10, 3, 30, 2, 20])

    def call(name):
        order.append(name)
        clock(next(costs))

    calls = {'a': lambda: call('a'), 'b': lambda: call('b')}
    assert interleaved(calls, repeats=3) == pytest.approx({'a': 2, 'b': 20})
    assert order == ['a', 'b'] * 4


def test_peak_is_what_was_held_at_once():
    block = torch.zeros(MIB // 4)  # 1 MiB of float32

    def one_after_the_other():
        for _ in range(3):
            block + 1

    def three_at_once():
        return block + 1, block + 2, block + 3

    assert peak_bytes(one_after_the_other, 'cpu') == pytest.approx(MIB, rel=0.05)
    assert peak_bytes(three_at_once, 'cpu') == pytest.approx(3 * MIB, rel=0.05)
    assert peak_bytes(lambda: None, 'cpu') == 0


def test_bytes_of_tensors_among_other_things():
    assert tensor_bytes([torch.zeros(3), 5, torch.zeros(2, dtype=torch.long)]) == 12 + 16
