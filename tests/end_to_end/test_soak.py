"""The short form of ``make soak``."""

import random

import pytest
import soak


@pytest.fixture(autouse=True)
def _no_mount(monkeypatch):
    monkeypatch.setattr(soak.shutil, 'which', lambda _: None)


@pytest.mark.parametrize('case', ['SIGKILL', 'full disk', 'NaN'])
def test_a_fault_costs_nothing_but_time(case, data_root, tmp_path):
    soak.CASES[case]('FixMatch', data_root, tmp_path / 'run', 2, random.Random(case))
