"""Medians of turns on a clock that the test moves, and bytes counted by hand."""

import time

import pytest
import torch

from mmseg_u2pl.analysis.benchmark.measure import (
    MIB,
    interleaved,
    medians,
    peak_memory,
    tensor_bytes,
)

CPU = torch.device('cpu')


def test_medians_count_an_absent_name_as_nothing():
    records = [{'a': 1.0, 'b': 9.0}, {'a': 5.0}, {'a': 2.0}]
    assert medians(records) == {'a': 2.0, 'b': 0.0}


def test_calls_take_turns_and_the_warm_up_does_not_count(monkeypatch):
    now, order, costs = [0.0], [], iter([100, 100, 1, 10, 3, 30, 2, 20])
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])

    def call(name):
        order.append(name)
        now[0] += next(costs) / 1e3

    calls = {'a': lambda: call('a'), 'b': lambda: call('b')}
    assert interleaved(calls, 3, CPU) == pytest.approx({'a': 2, 'b': 20})
    assert order == ['a', 'b'] * 4


def test_peak_is_what_was_held_at_once():
    block = torch.zeros(MIB // 4)  # 1 MiB of float32
    with peak_memory(CPU) as peak:
        for _ in range(3):
            block + 1
    assert peak.bytes == pytest.approx(MIB, rel=0.05)
    with peak_memory(CPU) as peak:
        held = block + 1, block + 2, block + 3
    assert peak.bytes == pytest.approx(3 * MIB, rel=0.05)
    del held
    with peak_memory(CPU) as peak:
        pass
    assert peak.bytes == 0


def test_bytes_of_tensors_among_other_things():
    assert tensor_bytes([torch.zeros(3), 5, torch.zeros(2, dtype=torch.long)]) == 12 + 16
